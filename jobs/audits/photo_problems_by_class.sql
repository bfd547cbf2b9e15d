-- Which classes have the worst photos?
--
-- Flagged photos per class and kind; `share` is the share of the class's images with at least one problem. A class with
-- different photos can be recognised by that alone (see attribute_label_lift).
--
-- needs images, issues
with problems as (
    select i.label_name, s.image_id, s.kind
    from issues s
    join images i on i.image_id = s.image_id
    where s.flagged and s.kind in ('dark', 'bright', 'blank', 'blurred', 'odd_aspect', 'tiny', 'grayscale',
        'damaged', 'unreadable')
        and i.label_name is not null
),
counted as (
    select label_name, count(distinct image_id) as with_problem,
        sum(case when kind = 'dark' then 1 else 0 end) as dark, sum(case when kind = 'bright' then 1 else 0 end) as bright,
        sum(case when kind = 'blank' then 1 else 0 end) as blank, sum(case when kind = 'blurred' then 1 else 0 end) as blurred,
        sum(case when kind = 'odd_aspect' then 1 else 0 end) as odd_aspect, sum(case when kind = 'tiny' then 1 else 0 end) as tiny,
        sum(case when kind = 'grayscale' then 1 else 0 end) as grayscale,
        sum(case when kind = 'damaged' then 1 else 0 end) as damaged,
        sum(case when kind = 'unreadable' then 1 else 0 end) as unreadable
    from problems
    group by label_name
),
totals as (
    select label_name, count(*) as images from images where label_name is not null group by label_name
)
select t.label_name, t.images, c.with_problem, cast(c.with_problem as double) / t.images as share, c.dark, c.bright, c.blank,
    c.blurred, c.odd_aspect, c.tiny, c.grayscale, c.damaged, c.unreadable
from counted c
join totals t on t.label_name = c.label_name
order by share desc, t.label_name
