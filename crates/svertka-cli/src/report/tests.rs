//! Whole pages of small networks on made pictures.

use std::fs;
use std::path::PathBuf;

use svertka::data::{Dataset, OpenOptions};
use svertka::formats::Picture;
use svertka::train::{Classifier, Confusion};
use svertka::{Model, Network};
use tempfile::TempDir;

use super::*;

struct Case {
    folder: TempDir,
    dataset: Dataset,
    model: Model,
    evaluation: Evaluation,
    history: Vec<EpochRecord>,
    skipped: Vec<Skipped>,
    cpu: Cpu,
}

/// Two pictures of 9 x 7 in each of `classes` folders, the second with this name, and an untrained network's answers.
fn case(classes: usize, channels: usize, second: &str, layers: &str) -> Case {
    let folder = tempfile::tempdir().unwrap();
    for class in 0..classes {
        let root = folder.path().join(format!("c{class:02}"));
        fs::create_dir(&root).unwrap();
        for (number, name) in ["a.png", second].into_iter().enumerate() {
            let data =
                (0..9 * 7 * channels).map(|i| ((i * (class + 3) * (number + 5)) % 251) as u8).collect();
            fs::write(root.join(name), Picture::new(9, 7, channels, data).unwrap().encode_png().unwrap())
                .unwrap();
        }
    }
    let dataset =
        Dataset::open(folder.path(), &OpenOptions { val_fraction: Some(0.0), ..OpenOptions::default() })
            .unwrap();
    let graph =
        Network::from_text(&format!("{layers} linear{classes}"), &[channels, 7, 9], 1).unwrap().finish();
    let mut model = Model::new(graph).with_labels(&dataset.classes);
    model.preprocessing = Some(dataset.preprocessing().unwrap());
    let cpu = Cpu::new(1);
    let mut classifier = Classifier::new(&model.graph, 8, &cpu).unwrap();
    let preprocessing = model.picture_preprocessing().unwrap();
    let evaluation =
        classifier.evaluate(&cpu, model.graph.parameters(), &dataset.train, &preprocessing).unwrap();
    Case { folder, dataset, model, evaluation, history: vec![], skipped: vec![], cpu }
}

impl Case {
    fn input(&self) -> Input<'_> {
        Input {
            title: "made",
            model: &self.model,
            history: &self.history,
            summary: vec![("Network", "<b>&</b>".into())],
            split: &self.dataset.train,
            split_name: "test",
            evaluation: &self.evaluation,
            skipped: &self.skipped,
            cpu: &self.cpu,
        }
    }

    fn page(&self) -> String {
        let page = page::page(&self.input()).unwrap().into_string();
        assert_self_contained(&page);
        page
    }
}

fn assert_self_contained(page: &str) {
    for loaded in ["http://", "https://", "<script", "<link", "<iframe", "url(", "@import"] {
        assert!(!page.contains(loaded), "{loaded} in the page");
    }
    for source in page.split(" src=\"").skip(1) {
        assert!(source.starts_with("data:image/"), "a source outside: {:?}", source.get(..40));
    }
    let links: Vec<&str> = page.split(" href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for link in links {
        let anchor = link.strip_prefix('#').expect("links within the page");
        assert!(page.contains(&format!("id=\"{anchor}\"")), "{anchor} is nowhere");
    }
}

#[test]
fn names_from_outside_are_escaped() {
    let evil = "\"><img src=x onerror=alert(1)>.png";
    let mut case = case(2, 1, evil, "conv4 relu");
    case.model.labels[0] = "<script>alert(1)</script>".into();
    case.model.labels[1] = "\" onclick=\"alert(2)".into();
    case.skipped =
        vec![Skipped { path: PathBuf::from(evil), reason: "</td><script>alert(3)</script>".into() }];
    // Everything wrong, so that every picture is shown with its name.
    let labels: Vec<usize> =
        (0..case.dataset.train.len()).map(|index| case.dataset.train.label(index)).collect();
    case.evaluation.probabilities =
        labels.iter().flat_map(|&label| [label as f32, 1.0 - label as f32]).collect();
    case.evaluation.confusion = Confusion { counts: vec![vec![0, 2], vec![2, 0]] };
    let page = case.page();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("&quot;&gt;&lt;img src=x onerror=alert(1)&gt;.png"));
    assert!(page.contains("&lt;b&gt;&amp;&lt;/b&gt;"));
    assert!(!page.contains("<img src=x") && !page.contains("\" onclick=\""));
}

#[test]
fn grey_and_colour_and_networks_without_convolution() {
    for (channels, layers, stages) in
        [(1, "conv4 relu", 1), (3, "conv4k5 bn relu conv70k1 relu gap", 2), (3, "linear5 relu", 0)]
    {
        let page = case(2, channels, "b.png", layers).page();
        assert_eq!(page.matches("<p class=\"stage\">").count(), 2 * stages, "{layers}");
        assert_eq!(page.contains("has no convolution"), stages == 0);
        assert_eq!(page.contains("weights of red, green and blue"), stages > 0 && channels == 3);
    }
}

#[test]
fn many_classes_are_listed_and_few_are_a_table() {
    let page = case(25, 1, "b.png", "conv4 relu").page();
    assert!(!page.contains("class=\"matrix\"") && page.contains("c24"));
    assert!(page.contains("The class that is found least comes first."));
    let page = case(2, 1, "b.png", "conv4 relu").page();
    assert_eq!(page.matches("<table class=\"matrix\">").count(), 1);
}

#[test]
fn figures_are_those_of_the_evaluation() {
    let mut case = case(2, 1, "b.png", "conv4 relu");
    case.evaluation.probabilities = vec![0.75, 0.25, 0.125, 0.875, 0.0, 1.0, 0.5, 0.5];
    // Equal probabilities: the first class is the answer.
    case.evaluation.confusion = Confusion { counts: vec![vec![1, 1], vec![1, 1]] };
    let page = case.page();
    assert!(page.contains("2 of 4 test pictures right") && page.contains("50.0\u{a0}%"));
    assert!(page.contains("href=\"#pair-0-1\"") && page.contains("href=\"#pair-1-0\""));
    assert!(page.contains("87.5\u{a0}%"));
    case.evaluation.probabilities.pop();
    let error = write(&case.folder.path().join("report.html"), &case.input()).unwrap_err().to_string();
    assert!(error.contains("expected 4 pictures of 2 classes, received 7 probabilities"), "{error}");
}

#[test]
fn without_mistakes_there_is_nothing_to_show() {
    let mut case = case(2, 3, "b.png", "conv4 relu");
    case.evaluation.probabilities = vec![1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
    case.evaluation.confusion = Confusion { counts: vec![vec![2, 0], vec![0, 2]] };
    let page = case.page();
    assert_eq!(page.matches("every answer was right").count(), 2);
    assert!(page.contains("100.0\u{a0}%") && !page.contains("#pair-"));
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let case = case(2, 1, "b.png", "conv4 relu");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    fs::write(&path, "an earlier one").unwrap();
    write(&path, &case.input()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), case.page());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(write(&folder.path().join("nowhere/report.html"), &case.input()).is_err());
}
