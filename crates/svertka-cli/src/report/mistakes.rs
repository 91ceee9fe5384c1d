//! The wrong answers that the network was surest of.

use anyhow::Result;
use maud::{Markup, html};

use super::{Answer, Input, percent, thumbnail};

/// Mistakes on the page.
const MAX_MISTAKES: usize = 24;

/// Answers beside a picture, and the true one where it is not among them.
const MAX_ANSWERS: usize = 3;

pub(super) fn section(input: &Input<'_>, answers: &[Answer<'_>]) -> Result<Markup> {
    let (worst, all) = worst(answers);
    let cards = worst.iter().map(|mistake| card(input, mistake)).collect::<Result<Vec<_>>>()?;
    Ok(html! {
        section id="mistakes" {
            h2 { "Worst mistakes" }
            @if cards.is_empty() {
                p { "None: every answer was right." }
            } @else {
                p {
                    "The wrong answers that the network was surest of, surest first"
                    @if all > cards.len() { ": " (cards.len()) " of " (all) }
                    ". Look here for wrong labels and for pictures that nobody could tell."
                }
                ul.cards { @for card in &cards { (card) } }
            }
        }
    })
}

/// The surest wrong answers, surest first, and the number of all.
fn worst<'a>(answers: &'a [Answer<'a>]) -> (Vec<&'a Answer<'a>>, usize) {
    let mut wrong: Vec<_> = answers.iter().filter(|answer| !answer.is_right()).collect();
    let all = wrong.len();
    // The sort is stable: equally sure ones stay in the order of the pictures.
    wrong.sort_by(|a, b| b.probabilities[b.answer].total_cmp(&a.probabilities[a.answer]));
    wrong.truncate(MAX_MISTAKES);
    (wrong, all)
}

fn card(input: &Input<'_>, mistake: &Answer<'_>) -> Result<Markup> {
    let label = input.class(mistake.label);
    let picture = input.split.picture(mistake.index)?;
    let thumbnail =
        thumbnail::photo(&picture, &format!("{label}, taken for {}", input.class(mistake.answer)))?;
    let name = input.split.name(mistake.index);
    Ok(html! {
        li {
            (thumbnail)
            div {
                p { "is " b { bdi { (label) } } }
                ol.answers { @for class in listed(mistake) {
                    @let share = f64::from(mistake.probabilities[class]);
                    li class=(if class == mistake.label { "right" } else { "wrong" }) style={ "--share:" (format!("{:.0}%", 100.0 * share)) } {
                        bdi { (input.class(class)) } " " span { (percent(share)) }
                    }
                } }
                p.file title=(name) { bdi { (short(&name)) } }
            }
        }
    })
}

/// The likeliest classes, likeliest first, and the true one at the end where it is not among them.
fn listed(mistake: &Answer<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..mistake.probabilities.len()).collect();
    order.sort_by(|&a, &b| mistake.probabilities[b].total_cmp(&mistake.probabilities[a]));
    order.truncate(MAX_ANSWERS);
    if !order.contains(&mistake.label) {
        order.push(mistake.label);
    }
    order
}

/// The file and the folder it is in.
fn short(name: &str) -> &str {
    name.rmatch_indices(['/', std::path::MAIN_SEPARATOR]).nth(1).map_or(name, |(at, _)| &name[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_comes_first() {
        let rows = [[0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6]];
        let labels = [0, 1, 0, 0];
        let answers: Vec<_> = (0..4)
            .map(|index| Answer { index, label: labels[index], answer: 1, probabilities: &rows[index] })
            .collect();
        let (worst, all) = worst(&answers);
        assert_eq!((worst.iter().map(|answer| answer.index).collect::<Vec<_>>(), all), (vec![2, 0, 3], 3));
    }

    #[test]
    fn the_true_class_is_always_listed() {
        let listed = |label| {
            listed(&Answer { index: 0, label, answer: 4, probabilities: &[0.1, 0.05, 0.2, 0.25, 0.4] })
        };
        assert_eq!(listed(3), [4, 3, 2]);
        assert_eq!(listed(1), [4, 3, 2, 1]);
    }

    #[test]
    fn names_are_cut_to_file_and_folder() {
        for (name, expected) in
            [("digits/test/17", "test/17"), ("/a/b/c.png", "b/c.png"), ("c.png", "c.png"), ("b/c", "b/c")]
        {
            assert_eq!(short(name), expected);
        }
    }
}
