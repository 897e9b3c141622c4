# The ladder's second step on synthetic people, + QFE: two views and two stems a modality; the third step adds MIMB.
_base_ = './mscm_synthetic_ladder3_mimb.py'
model = dict(backbone=dict(plugins=dict(mimb=None)))
