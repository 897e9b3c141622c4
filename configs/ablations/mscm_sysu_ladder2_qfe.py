# The ladder's second step, + QFE: two views and two stems a modality; the third step adds MIMB.
_base_ = './mscm_sysu_ladder3_mimb.py'
model = dict(backbone=dict(plugins=dict(mimb=None)))
