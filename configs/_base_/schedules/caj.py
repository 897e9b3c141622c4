# CAJ's training: AGW's, 100 epochs.
_base_ = './agw.py'
train_cfg = dict(max_epochs=100)
