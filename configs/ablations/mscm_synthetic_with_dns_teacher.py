# MSCMNet with DNS's teacher loss: each modality's rows also learn from the other modality's averaged classifier.
_base_ = '../mscm_synthetic.py'
model = dict(head=dict(losses=dict(dd=dict(type='OtherModalityTeacher', start_iter=100, ramp_iters=200))))
