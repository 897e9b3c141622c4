# PMT with visible images in colour from the first epoch on.
_base_ = '../pmt_sysu.py'
model = dict(data_preprocessor=dict(views=dict(visible=dict(ops=dict(gray=None)))))
