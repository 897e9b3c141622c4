# The ladder's first step: a two-stream trunk with cross entropy and the batch-hard triplet (margin 0.3), one view and
# one stem a modality (V1 and I1). The non-local blocks stay in every step: MSCMNet stands on AGW's trunk, which has
# them. The second step adds QFE, the second view and stem of each modality.
_base_ = './mscm_sysu_ladder2_qfe.py'
model = dict(
    data_preprocessor=dict(views=dict(visible_2=None, infrared_2=None)),
    backbone=dict(streams=dict(visible=['visible_1'], infrared=['infrared_1'])),
)
