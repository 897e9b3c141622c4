# PMT without DCL, the discriminative centre loss.
_base_ = '../pmt_sysu.py'
model = dict(head=dict(losses=dict(dcl=None)))
