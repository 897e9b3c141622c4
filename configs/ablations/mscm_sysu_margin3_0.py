# MSCMNet, QCT with margin 3.0 (published: 0.7).
_base_ = '../mscm_sysu.py'
model = dict(head=dict(losses=dict(qct=dict(margin=3.0))))
