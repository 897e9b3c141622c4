# DNS without the circle loss.
_base_ = '../dns_sysu.py'
model = dict(head=dict(losses=dict(circle=None)))
