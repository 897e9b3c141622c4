# MSCMNet without QFE: one view and one stem a modality (V1 and I1), so two streams instead of four.
_base_ = '../mscm_sysu.py'
model = dict(
    data_preprocessor=dict(views=dict(visible_2=None, infrared_2=None)),
    backbone=dict(streams=dict(visible=['visible_1'], infrared=['infrared_1'])),
)
