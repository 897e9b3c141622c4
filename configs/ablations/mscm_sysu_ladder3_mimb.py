# The ladder's third step, + MIMB: MSCMNet but for QCT, in whose place stands the batch-hard triplet.
# The steps: ladder1_two_stream, ladder2_qfe (+ QFE), this one (+ MIMB), mscm_sysu.py (+ QCT).
_base_ = './mscm_sysu_triplet.py'
