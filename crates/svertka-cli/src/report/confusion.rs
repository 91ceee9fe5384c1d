//! Which classes are taken for which, with the pictures where it happened, and how well each class is found.

use std::collections::BTreeMap;

use anyhow::Result;
use maud::{Markup, html};
use svertka::train::Confusion;

use super::{Answer, Input, percent, pictures, thumbnail};

/// Where a class has a longer name, those of the columns are turned.
const MAX_LEVEL: usize = 4;

/// With more classes there is no table of all cells but a list of pairs.
const MAX_TABLE: usize = 20;

/// Pairs in that list.
const MAX_PAIRS: usize = 30;

/// Thumbnails of one pair.
const MAX_OF_PAIR: usize = 12;

/// Thumbnails of all pairs, about; each pair has at least one.
const MAX_OF_ALL: usize = 480;

/// Pictures of one class that were taken for another.
struct Pair<'a> {
    label: usize,
    answer: usize,
    mistakes: Vec<&'a Answer<'a>>,
}

impl Pair<'_> {
    fn anchor(&self) -> String {
        anchor(self.label, self.answer)
    }
}

fn anchor(label: usize, answer: usize) -> String {
    format!("pair-{label}-{answer}")
}

pub(super) fn section(input: &Input<'_>, answers: &[Answer<'_>]) -> Result<Markup> {
    let many = input.classes() > MAX_TABLE;
    let mut pairs = pairs(answers);
    let all = pairs.len();
    if many {
        pairs.truncate(MAX_PAIRS);
    }
    let of_pair = (MAX_OF_ALL / pairs.len().max(1)).clamp(1, MAX_OF_PAIR);
    let groups = pairs.iter().map(|pair| group(input, pair, of_pair)).collect::<Result<Vec<_>>>()?;
    Ok(html! {
        section id="confusion" {
            h2 { "What it confuses" }
            @if pairs.is_empty() {
                p { "Nothing: every answer was right." }
            }
            @if !many {
                (table(input))
            }
            @if !pairs.is_empty() {
                h3 { "The confused pictures" }
                p {
                    @if many { "The " (pairs.len()) " most frequent of " (all) " confusions. " }
                    "Most frequent first; each opens."
                }
                div.groups { @for group in &groups { (group) } }
            }
            h3 { "Class by class" }
            (classes(input, many))
        }
    })
}

/// Every confusion that happened, most frequent first, then by class.
fn pairs<'a>(answers: &'a [Answer<'a>]) -> Vec<Pair<'a>> {
    let mut pairs = BTreeMap::<_, Vec<_>>::new();
    for answer in answers.iter().filter(|answer| !answer.is_right()) {
        pairs.entry((answer.label, answer.answer)).or_default().push(answer);
    }
    let mut pairs: Vec<_> =
        pairs.into_iter().map(|((label, answer), mistakes)| Pair { label, answer, mistakes }).collect();
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.mistakes.len()));
    pairs
}

fn table(input: &Input<'_>) -> Markup {
    let Confusion { counts } = &input.evaluation.confusion;
    let long = (0..counts.len()).any(|class| input.class(class).chars().count() > MAX_LEVEL);
    html! {
        p {
            "Each row is what the pictures are, each column what the network answered: "
            span.key.right { "right" } ", " span.key.wrong { "wrong" } ". "
            "The stronger the colour, the larger the share of its row (by the share's square root, so that rare mistakes show too). "
            "A number of mistakes leads to their pictures."
        }
        div.wide tabindex="0" role="region" aria-label="Confusion matrix" {
            table.matrix.long[long] {
                caption { "Number of pictures; rows: true class, columns: answer" }
                thead { tr {
                    td {}
                    @for answer in 0..counts.len() { th scope="col" { span { bdi { (input.class(answer)) } } } }
                } }
                tbody { @for (label, row) in counts.iter().enumerate() { tr {
                    th scope="row" { bdi { (input.class(label)) } }
                    @for (answer, &count) in row.iter().enumerate() { (cell(label, answer, count, row.iter().sum())) }
                } } }
            }
        }
    }
}

fn cell(label: usize, answer: usize, count: usize, whole: usize) -> Markup {
    let share = count as f64 / whole.max(1) as f64;
    let style = format!("--share:{:.0}%", 100.0 * share.sqrt());
    html! {
        @if count == 0 {
            td.none { "0" }
        } @else if label == answer {
            td.right style=(style) title=(percent(share)) { (count) }
        } @else {
            td.wrong style=(style) title=(percent(share)) { a href={ "#" (anchor(label, answer)) } { (count) } }
        }
    }
}

/// The anchor stands inside, for browsers to open the group when a link leads there.
fn group(input: &Input<'_>, pair: &Pair<'_>, most: usize) -> Result<Markup> {
    let (label, answer) = (input.class(pair.label), input.class(pair.answer));
    let shown = pair.mistakes.len().min(most);
    let mut thumbnails = Vec::new();
    for mistake in &pair.mistakes[..shown] {
        let picture = input.split.picture(mistake.index)?;
        thumbnails.push(thumbnail::photo(&picture, &format!("{label}, taken for {answer}"))?);
    }
    Ok(html! {
        details {
            summary { bdi { (label) } " → " bdi { (answer) } ": " (pictures(pair.mistakes.len())) }
            div.thumbnails id=(pair.anchor()) {
                @for thumbnail in &thumbnails { (thumbnail) }
                @if shown < pair.mistakes.len() { p { (shown) " of " (pair.mistakes.len()) " shown" } }
            }
        }
    })
}

fn classes(input: &Input<'_>, worst_first: bool) -> Markup {
    let confusion = &input.evaluation.confusion;
    let mut order: Vec<usize> = (0..input.classes()).collect();
    if worst_first {
        // Classes without pictures come last.
        let recall = |class: &usize| confusion.recall(*class).unwrap_or(f64::INFINITY);
        order.sort_by(|a, b| recall(a).total_cmp(&recall(b)));
    }
    let share = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), percent);
    html! {
        p {
            b { "Found" } " (recall): of the pictures of the class, the share that was named so. "
            b { "Reliable" } " (precision): of the answers that name the class, the share that is right. "
            @if worst_first { "The class that is found least comes first." }
        }
        div.wide tabindex="0" role="region" aria-label="Recall and precision of each class" {
            table {
                thead { tr {
                    @for head in ["Class", "Pictures", "Found", "Reliable", "Most often taken for"] { th scope="col" { (head) } }
                } }
                tbody { @for class in order { tr {
                    th scope="row" { bdi { (input.class(class)) } }
                    td { (confusion.counts[class].iter().sum::<usize>()) }
                    td { (share(confusion.recall(class))) }
                    td { (share(confusion.precision(class))) }
                    td.text { @match taken_for(confusion, class) {
                        Some((other, count)) => { bdi { (input.class(other)) } " (" (count) ")" }
                        None => "–",
                    } }
                } } }
            }
        }
    }
}

/// The class that pictures of `class` are most often mistaken for, and how often.
fn taken_for(confusion: &Confusion, class: usize) -> Option<(usize, usize)> {
    let others = confusion.counts[class]
        .iter()
        .copied()
        .enumerate()
        .filter(|&(other, count)| other != class && count > 0);
    others.max_by_key(|&(other, count)| (count, std::cmp::Reverse(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_and_ordered() {
        let answer = |index, (label, answer)| Answer { index, label, answer, probabilities: &[] };
        let given = [(0, 0), (2, 1), (0, 1), (2, 1), (1, 0)];
        let answers: Vec<_> =
            given.into_iter().enumerate().map(|(index, pair)| answer(index, pair)).collect();
        let found: Vec<_> = pairs(&answers)
            .iter()
            .map(|pair| {
                (
                    pair.label,
                    pair.answer,
                    pair.mistakes.iter().map(|mistake| mistake.index).collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(found, [(2, 1, vec![1, 3]), (0, 1, vec![2]), (1, 0, vec![4])]);
    }

    #[test]
    fn the_most_frequent_mistake_of_a_class() {
        let confusion = Confusion { counts: vec![vec![9, 2, 2], vec![0, 1, 0], vec![0, 3, 0]] };
        let found: Vec<_> = (0..3).map(|class| taken_for(&confusion, class)).collect();
        assert_eq!(found, [Some((1, 2)), None, Some((1, 3))]);
    }
}
