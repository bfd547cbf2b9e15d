-- Which classes are scattered?
--
-- `label_agreement` is the share of a class's neighbours in the class. Low: the class is visually diverse, badly
-- labelled, or not represented by the features. `antihubs` are its images in no neighbour list.
--
-- param rows integer = 30 : maximum number of rows
-- needs class_neighbors
select name as class_name, images, label_agreement, antihubs, in_degree_mean, in_degree_max
from class_neighbors
where label_agreement is not null
order by label_agreement, name
limit $rows
