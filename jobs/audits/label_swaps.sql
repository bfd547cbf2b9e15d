-- Which classes are mislabelled as which others?
--
-- One row per given and true class with at least `least` images: `images` are counted by confident learning, `estimated`
-- is that count scaled to the class, `share` is of the images with the label. Rows in both directions: people cannot
-- distinguish the two. In one direction: probably a single annotator or import.
--
-- param least integer = 1 : minimum number of counted images
-- param rows integer = 50 : maximum number of rows
-- needs confident_joint
with totals as (
    select label, sum(estimated) as total from confident_joint group by label
)
select j.label_name as labelled, j.true_name as looks_like, j.count as images, j.estimated, j.estimated / t.total as share
from confident_joint j
join totals t on t.label = j.label
where j.label <> j.true_label and j.count >= $least and t.total > 0
order by j.estimated desc, j.label_name, j.true_name
limit $rows
