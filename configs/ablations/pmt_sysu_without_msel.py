# PMT without MSEL, the modality-shared enhancement.
_base_ = '../pmt_sysu.py'
model = dict(head=dict(losses=dict(msel=None)))
