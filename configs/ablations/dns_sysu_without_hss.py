# DNS without HSS, the coordinate attention behind stages 3 and 4.
_base_ = '../dns_sysu.py'
model = dict(backbone=dict(plugins=dict(hss=None)))
