# MSCMNet without MIMB: the non-local trunk alone mixes scales. See docs for the ladder of ablations.
_base_ = '../mscm_sysu.py'
model = dict(backbone=dict(plugins=dict(mimb=None)))
