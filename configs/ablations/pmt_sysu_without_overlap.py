# PMT with patches that do not overlap: stride 16.
_base_ = '../pmt_sysu.py'
model = dict(backbone=dict(stride=16))
