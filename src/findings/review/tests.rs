use std::{fs, thread};

use super::*;

const TEXT: &str = "path,kind,verdict,note,date,digest\n\
    hat/1.jpg,label,ok,\"a beret, I think\",2026-11-23,ab01\n\
    ./hat/2.jpg, Outlier ,FIX,,,\n\
    ,,,,,\n\
    hat/1.jpg,dark,fix\n";

fn parse(text: &str) -> Result<Reviews> {
    Reviews::parse(Path::new("reviews.csv"), text.as_bytes())
}

#[test]
fn a_review_holds_for_the_reviewed_content() {
    let reviews = parse(TEXT).unwrap();
    assert_eq!(reviews.iter().count(), 3);
    let found = reviews
        .find("hat/1.jpg", Kind::Label, Some("ab01"))
        .unwrap();
    assert_eq!(
        (found.verdict, found.note.as_str()),
        (Verdict::Ok, "a beret, I think")
    );
    assert_eq!(reviews.find("hat/1.jpg", Kind::Label, Some("ff")), None);
    assert_eq!(reviews.find("hat/1.jpg", Kind::Label, None), None);
    assert_eq!(reviews.find("hat/1.jpg", Kind::Bright, Some("ab01")), None);
    // Without a digest: any content.
    for digest in [None, Some("ff")] {
        let found = reviews.find("hat/2.jpg", Kind::Outlier, digest).unwrap();
        assert_eq!(found.verdict, Verdict::Fix);
    }
}

#[test]
fn formulas_are_escaped_and_come_back() {
    let mut reviews =
        parse("path,kind,verdict,+who\n'=1+1/b.png,label,ok,@me\n=2.png,dark,ok,\n").unwrap();
    assert!(reviews.about("=1+1/b.png", Kind::Label).is_some());
    reviews.set(Review {
        note: "- not sure".into(),
        label: Some("@cat".into()),
        ..Review::new("=1+1/a.png", Kind::Label, Verdict::Fix)
    });
    let written = reviews.csv(Path::new("x")).unwrap();
    let text = String::from_utf8(written.clone()).unwrap();
    assert_eq!(
        text,
        "path,kind,verdict,note,date,digest,label,sampled,'+who\n\
         '=1+1/b.png,label,ok,,,,,,'@me\n\
         '=2.png,dark,ok,,,,,,\n\
         '=1+1/a.png,label,fix,'- not sure,,,'@cat,,\n"
    );
    assert_eq!(parse(&text).unwrap(), {
        // A missing cell is written as an empty one.
        reviews.list[2].more = vec![String::new()];
        reviews
    });
}

#[test]
fn the_last_review_counts_and_additional_columns_stay() {
    let text = "who,verdict,kind,path\nann,ok,label,a\nbob,fix,label,a\n\"c, d\",ok,dark,b\n";
    let mut reviews = parse(text).unwrap();
    assert_eq!(reviews.iter().count(), 2);
    assert_eq!(
        reviews.find("a", Kind::Label, None).unwrap().verdict,
        Verdict::Fix
    );
    let before = reviews
        .set(Review::new("a", Kind::Label, Verdict::Ok))
        .unwrap();
    assert_eq!(before.verdict, Verdict::Fix);
    let written = reviews.csv(Path::new("x")).unwrap();
    assert_eq!(
        String::from_utf8(written).unwrap(),
        "path,kind,verdict,note,date,digest,label,sampled,who\n\
         b,dark,ok,,,,,,\"c, d\"\na,label,ok,,,,,,\n"
    );
    assert!(reviews.remove("b", Kind::Dark).is_some());
    assert!(reviews.remove("b", Kind::Dark).is_none());
    assert_eq!(reviews.iter().count(), 1);
}

#[test]
fn a_decision_about_a_sampled_image_keeps_that_it_was_asked_for() {
    let text = "path,kind,verdict,note,date,digest,label,sampled\n\
        a,label,asked,,,ab,,yes\nb,label,asked,,,ab,,yes\nc,label,fix,,,ab,cat,\na,label,ok,,,,,\n";
    let mut reviews = parse(text).unwrap();
    assert_eq!(reviews.find("b", Kind::Label, Some("ab")), None);
    assert_eq!((reviews.iter().count(), reviews.asked().count()), (2, 1));
    assert!(reviews.find("a", Kind::Label, None).unwrap().sampled);
    let fixed = reviews.find("c", Kind::Label, Some("ab")).unwrap();
    assert_eq!(
        (fixed.label.as_deref(), fixed.sampled),
        (Some("cat"), false)
    );
    for (digest, sampled) in [("ab", true), ("ff", false)] {
        reviews.set(Review {
            digest: Some(digest.into()),
            ..Review::new("b", Kind::Label, Verdict::Fix)
        });
        assert_eq!(reviews.about("b", Kind::Label).unwrap().sampled, sampled);
    }
    assert!(parse("path,kind,verdict,label\na,label,ok,cat\n").is_err());
}

#[test]
fn invalid_rows_are_listed_with_their_lines() {
    let error =
        parse("path,kind,verdict\na,lable,ok\nb,label,okay\n,label,ok\nc,label,ok,x\nd,label,ok\n")
            .unwrap_err();
    let text = error.to_string();
    for piece in [
        "line 2: ",
        "did you mean `label`",
        "line 3: ",
        "did you mean `ok`",
        "line 4: no path",
        "and 1 more",
    ] {
        assert!(text.contains(piece), "{piece}: {text}");
    }
    assert_eq!(error.exit_code(), 65);
    for text in [
        "path;kind;verdict\na;label;ok\n",
        "path,kind\na,label\n",
        "\"a",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert_eq!(parse("").unwrap(), Reviews::default());
    assert!(
        parse("\u{feff}path,kind,verdict\r\na,label,ok\r\n")
            .unwrap()
            .find("a", Kind::Label, None)
            .is_some()
    );
}

#[test]
fn concurrent_updates_are_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs/reviews.csv");
    assert_eq!(Reviews::read(&path).unwrap(), Reviews::default());
    thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for at in 0..10 {
                    let image = format!("{writer}/{at}\n\".jpg");
                    Reviews::update(path, |reviews| {
                        Ok(reviews.set(Review::new(&image, Kind::Leak, Verdict::Ok)))
                    })
                    .unwrap();
                }
            });
        }
    });
    let reviews = Reviews::read(&path).unwrap();
    assert_eq!(reviews.iter().count(), 40);
    assert!(reviews.find("3/9\n\".jpg", Kind::Leak, None).is_some());
    // A failed update changes nothing and leaves no temporary file.
    let before = fs::read(&path).unwrap();
    let refused = Reviews::update(&path, |reviews| {
        reviews.remove("3/9\n\".jpg", Kind::Leak);
        Err::<(), _>(Error::Interrupted)
    });
    assert!(refused.is_err());
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}
