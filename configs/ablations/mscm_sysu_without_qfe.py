# MSCMNet without QFE: one view and one stem a modality (V1 and I1), so two streams instead of four.
_base_ = '../mscm_sysu.py'
model = dict(
    data_preprocessor=dict(views=[{{_base_.mscm_views.visible_1}}, {{_base_.mscm_views.infrared_1}}]),
    backbone=dict(streams=dict(visible=['visible_1'], infrared=['infrared_1'])),
)
