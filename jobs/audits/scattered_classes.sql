-- Which classes do not hold together?
--
-- `label_agreement` is the share of a class's neighbours that are of the class. Low: the class has several looks, is
-- badly labelled, or means something that the features do not show. `antihubs` are its images in nobody's list.
--
-- param rows integer = 30 : maximum number of rows
-- needs class_neighbors
select name as class_name, images, label_agreement, antihubs, in_degree_mean, in_degree_max
from class_neighbors
where label_agreement is not null
order by label_agreement, name
limit $rows
