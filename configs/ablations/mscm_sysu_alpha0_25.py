# MSCMNet, QCT with alpha 0.25: that share of the pull goes to the centre of a row's own stream (published: 0).
_base_ = '../mscm_sysu.py'
model = dict(head=dict(losses=dict(qct=dict(alpha=0.25))))
