-- What fraction of the wrong labels does a review find?
--
-- Measured on labels changed by the audit: reviewing the `reviewed` worst labels finds the fraction `recall` of the changed
-- labels (95 % interval `recall_low` to `recall_high`), for each kind of error. Real errors are mostly like `similar`, the
-- hardest kind. How many of the reviewed labels are wrong is unknown without a review.
--
-- needs label_calibration
select noise, reviewed, recall, recall_low, recall_high, planted
from label_calibration
order by noise, reviewed
