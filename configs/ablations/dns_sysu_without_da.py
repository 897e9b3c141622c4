# DNS without DA, the MMD between modalities and spaces.
_base_ = '../dns_sysu.py'
model = dict(head=dict(losses=dict(da=None)))
