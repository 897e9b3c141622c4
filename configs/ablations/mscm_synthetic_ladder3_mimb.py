# The ladder's third step on synthetic people, + MIMB: MSCMNet but for QCT, in whose place stands the batch-hard
# triplet (margin 0.3) with the same late start. The fourth step, + QCT, is mscm_synthetic.py.
_base_ = '../mscm_synthetic.py'
model = dict(
    head=dict(
        metric_losses=dict(
            _delete_=True, triplet=dict(type='BatchHardTripletLoss', margin=0.3, weight=1.0, **_base_.metric_ramp)
        )
    )
)
