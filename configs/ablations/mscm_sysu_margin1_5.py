# MSCMNet, QCT with margin 1.5 (published: 0.7).
_base_ = '../mscm_sysu.py'
model = dict(head=dict(losses=dict(qct=dict(margin=1.5))))
