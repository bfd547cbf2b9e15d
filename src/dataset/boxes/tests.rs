use std::{fs, sync::Arc};

use arrow::{
    array::{FixedSizeListArray, Float32Array, Int32Array, ListArray, RecordBatch, StringArray},
    buffer::OffsetBuffer,
    datatypes::Field,
};
use prospect_store::write_table;

use super::*;

fn write(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn read(content: &str) -> Result<Boxes> {
    let (_folder, path) = write("boxes.csv", content);
    Boxes::read(&path)
}

fn edges(boxes: &Boxes, image: &str) -> Vec<[f64; 4]> {
    boxes.by_image[image].iter().map(|row| row.edges).collect()
}

#[test]
fn all_column_layouts_are_equivalent() {
    let short = read(
        "file_name,x,y,width,height,category\n./a.jpg,1,2,3,4,cat\nb/c.jpg,0.5,0,7,8,\na.jpg,5,6,1,1,dog\n",
    )
    .unwrap();
    assert_eq!(
        edges(&short, "a.jpg"),
        [[1.0, 2.0, 4.0, 6.0], [5.0, 6.0, 6.0, 7.0]]
    );
    assert_eq!(edges(&short, "b/c.jpg"), [[0.5, 0.0, 7.5, 8.0]]);
    assert_eq!((short.n_boxes(), short.n_images()), (3, 2));
    let (_folder, path) = write(
        "boxes.tsv",
        "bbox_height\tbbox_width\tbbox_y\tbbox_x\tfile_name\theight\tx\n\
         8\t7\t0\t0.5\tb/c.jpg\t9\tz\n4\t3\t2\t1\ta.jpg\t9\tz\n1\t1\t6\t5\ta.jpg\t9\tz\n",
    );
    let long = Boxes::read(&path).unwrap();
    assert_eq!(long.digest(), short.digest());

    let files: ArrayRef = Arc::new(StringArray::from(vec!["a.jpg", "b/c.jpg", "a.jpg"]));
    let flat = vec![1.0, 2.0, 3.0, 4.0, 0.5, 0.0, 7.0, 8.0, 5.0, 6.0, 1.0, 1.0];
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let values = Arc::new(Float32Array::from(flat));
    let fixed = FixedSizeListArray::new(item.clone(), 4, values.clone(), None);
    let free = ListArray::new(item, OffsetBuffer::from_repeated_length(4, 3), values, None);
    let lists: [ArrayRef; 2] = [Arc::new(fixed), Arc::new(free)];
    for lists in lists {
        let batch = RecordBatch::try_from_iter([("file_name", files.clone()), ("bbox", lists)]);
        let path = path.with_extension("parquet");
        write_table(&path, &batch.unwrap()).unwrap();
        assert_eq!(Boxes::read(&path).unwrap().digest(), short.digest());
    }
    let other = read("file_name,x,y,width,height\na.jpg,1,2,3,5\n").unwrap();
    assert_ne!(other.digest(), short.digest());
}

#[test]
fn complaints_name_their_lines() {
    let header = "file_name,x,y,width,height\n";
    for (rows, found) in [
        (
            "a.jpg,1,2,3,4\nb.jpg,1,2,0,4\n",
            "line 3: width 0, height 4",
        ),
        ("a.jpg,1,2,3,-4\n", "line 2: width 3, height -4"),
        ("a.jpg,1,2,wide,4\na.jpg,1,2,3,4\n", "line 2: width = wide"),
        ("a.jpg,1,,3,4\n", "line 2: no y"),
        ("a.jpg,nan,1,3,4\n", "line 2: x = NaN"),
        ("a.jpg,1,1,inf,4\n", "line 2: width = inf"),
        ("a.jpg,true,1,3,4\n", "line 2: x of type Boolean"),
        (",1,1,3,4\n", "none in line 2"),
        ("\"a\nb.jpg\",1,1,3,4\nc.jpg,1,1,0,4\n", "line 4: width 0"),
    ] {
        let error = read(&format!("{header}{rows}")).unwrap_err().to_string();
        assert!(error.contains(found), "{error}");
        assert!(error.contains("boxes.csv: expected"), "{error}");
    }
    let many = "a.jpg,1,1,0,0\n".repeat(9);
    let error = read(&format!("{header}{many}")).unwrap_err().to_string();
    assert!(
        error.contains("line 6: ") && error.contains("and 4 more"),
        "{error}"
    );
    assert!(!error.contains("line 7"), "{error}");
    for broken in [
        "file_name,x,y,w,h\na,1,1,1,1\n",
        "x,y,width,height\n1,1,1,1\n",
        "",
    ] {
        let error = read(broken).unwrap_err().to_string();
        assert!(error.contains("found the columns"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("boxes.parquet");
    let files: ArrayRef = Arc::new(StringArray::from(vec!["a.jpg"]));
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let values = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let lists: ArrayRef = Arc::new(FixedSizeListArray::new(item, 3, values, None));
    let batch = RecordBatch::try_from_iter([("file_name", files), ("bbox", lists)]).unwrap();
    write_table(&path, &batch).unwrap();
    let error = Boxes::read(&path).unwrap_err().to_string();
    assert!(
        error.contains("four numbers") && error.contains("row 1"),
        "{error}"
    );
}

#[test]
fn boxes_are_clipped_or_refused_if_outside() {
    let boxes = read(
        "file_name,x,y,width,height\na.jpg,-2,1,4,100\na.jpg,3,3,2,2\ngone.jpg,0,0,9,9\nbad.jpg,0,0,9,9\n",
    )
    .unwrap();
    let images = [
        ("a.jpg", Some((10, 20))),
        ("bad.jpg", None),
        ("c.jpg", Some((5, 5))),
    ];
    let fitted = boxes.fit(images, Path::new("photos")).unwrap();
    assert_eq!(
        fitted.by_image["a.jpg"],
        [[0.0, 1.0, 2.0, 20.0], [3.0, 3.0, 5.0, 5.0]]
    );
    assert_eq!(fitted.by_image.len(), 1);
    assert_eq!(fitted.unknown, ["gone.jpg"]);
    let error = boxes
        .fit([("a.jpg", Some((3, 20)))], Path::new("photos"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("line 3: x 3 to 5, y 3 to 5 in a.jpg of 3x20"),
        "{error}"
    );
}

#[test]
fn metadata_may_contain_boxes() {
    let of = |content: &str| {
        let (_folder, path) = write("metadata.csv", content);
        Boxes::of_metadata(&path, &LabelColumns::default())
    };
    // Width and height alone are those of the image.
    assert!(
        of("file_name,x,y,width,height\na.jpg,1,2,3,4\n")
            .unwrap()
            .is_none()
    );
    let boxes = of("file_name,bbox_x,bbox_y,bbox_width,bbox_height\na.jpg,1,2,3,4\nb.jpg,,,,\n");
    let boxes = boxes.unwrap().unwrap();
    assert_eq!((boxes.n_boxes(), boxes.n_images()), (1, 1));
    let error = of("file_name,bbox_x,bbox_y,bbox_width,bbox_height\na.jpg,1,2,,4\n");
    assert!(error.unwrap_err().to_string().contains("line 2: no width"));
}
