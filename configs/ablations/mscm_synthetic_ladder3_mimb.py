# The ladder's third step on synthetic people, + MIMB: MSCMNet but for QCT, in whose place stands the batch-hard
# triplet (margin 0.3) with the same late start. The fourth step, + QCT, is mscm_synthetic.py.
_base_ = '../mscm_synthetic.py'
model = dict(
    head=dict(
        losses=dict(
            qct=None,
            triplet=dict(type='BatchHardTripletLoss', margin=0.3, start_iter=100, ramp_iters=200),
        )
    )
)
