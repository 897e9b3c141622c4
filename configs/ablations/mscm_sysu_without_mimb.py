# MSCMNet without MIMB: the non-local trunk alone mixes scales. See docs for the ladder of ablations.
_base_ = '../mscm_sysu.py'
model = dict(backbone=dict(plugins=[dict(type='NonLocal', last=dict(stage2=2, stage3=3))]))
