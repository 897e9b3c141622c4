# DNS without DD, the other modality's teachers.
_base_ = '../dns_sysu.py'
model = dict(head=dict(losses=dict(dd=None)))
