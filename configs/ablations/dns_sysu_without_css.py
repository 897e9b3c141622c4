# DNS without CSS: no second feature, so DA and DD work on one space.
_base_ = '../dns_sysu.py'
_losses = dict(da=dict(shifted=None), dd=dict(features=['feat_bn']))
model = dict(backbone=dict(plugins=dict(css=None)), head=dict(losses=_losses))
del _losses
