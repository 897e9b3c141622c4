# MSCMNet with the batch-hard triplet loss (margin 0.3, the usual value) in place of QCT.
_base_ = '../mscm_sysu.py'
model = dict(head=dict(losses=dict(qct=None, triplet=dict(type='BatchHardTripletLoss', margin=0.3))))
