-- What is new since the last run?
--
-- Findings that are new or worse than in the previous run ([run] previous). With change = 'resolved', those that are
-- gone; deleted images have no image_id.
--
-- param change text = 'new' : new, worse, better or resolved; '' for all
-- param kind finding = '' : findings of this kind; '' for all
-- param rows integer = 200 : maximum number of rows
-- needs images, changes
select i.image_id, c.path, c.kind, c.change, c.score_before, c.score, c.evidence, o.image_id as other_id, c.other_path
from changes c
left join images i on i.path = c.path
left join images o on o.path = c.other_path
where ($change = '' or c.change = $change) and ($kind = '' or c.kind = $kind)
order by c.kind, c.score nulls last, c.path, c.other_path nulls first, c.change
limit $rows
