# MSCMNet without the non-local blocks; MIMB stays (the released switch drops both).
_base_ = '../mscm_sysu.py'
model = dict(backbone=dict(plugins=dict(non_local=None)))
