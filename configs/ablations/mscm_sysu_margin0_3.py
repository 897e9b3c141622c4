# MSCMNet, QCT with margin 0.3 (published: 0.7).
_base_ = '../mscm_sysu.py'
model = dict(head=dict(losses=dict(qct=dict(margin=0.3))))
