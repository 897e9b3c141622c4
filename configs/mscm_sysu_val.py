# MSCMNet on SYSU-MM01, best epoch chosen on the data set's own 99 validation identities, so that the test set is
# seen once, at the end. It trains on the other 296 identities: expect less than mscm_sysu.py. Nothing is published.
_base_ = './mscm_sysu.py'
model = dict(head=dict(num_classes=296))
train_dataloader = dict(dataset=dict(split='train'))
val_dataloader = dict(dataset=dict(split='val'))
