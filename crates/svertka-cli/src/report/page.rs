//! The page as a whole: head, headline, key facts, the sections in their order, skipped files.

use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use svertka::train::wilson_interval;

use super::{Input, confusion, curves, features, mistakes, percent, pictures};

const STYLE: &str = include_str!("style.css");

/// Nothing may be loaded or run: names of classes and files come from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Skipped files that are listed.
const MAX_SKIPPED: usize = 200;

pub(super) fn page(input: &Input<'_>) -> Result<Markup> {
    let answers = input.answers()?;
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (input.title) " – svertka report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { bdi { (input.title) } }
                    nav aria-label="Sections" {
                        a href="#curves" { "Curves" } a href="#confusion" { "Confusion" } a href="#mistakes" { "Mistakes" }
                        a href="#features" { "Features" } a href="#skipped" { "Skipped files" }
                    }
                }
                main {
                    (headline(input))
                    (curves::section(input.history)?)
                    (confusion::section(input, &answers)?)
                    (mistakes::section(input, &answers)?)
                    (features::section(input, &answers)?)
                    (skipped(input))
                }
                footer { "Written by svertka " (env!("CARGO_PKG_VERSION")) ". This file needs no network and sends nothing." }
            }
        }
    })
}

fn headline(input: &Input<'_>) -> Markup {
    let confusion = &input.evaluation.confusion;
    let (right, total) = (confusion.correct(), confusion.total());
    let (low, high) = wilson_interval(right, total);
    let most = confusion.counts.iter().map(|row| row.iter().sum::<usize>()).max().unwrap_or(0);
    html! {
        section.headline {
            div {
                p.accuracy { (percent(confusion.accuracy())) }
                p.count { (right) " of " (total) " " (input.split_name) " " (if total == 1 { "picture" } else { "pictures" }) " right" }
            }
            p {
                "With this many pictures the true accuracy on pictures of the same kind lies between " b { (percent(low)) } " and " b { (percent(high)) }
                " (95\u{a0}% interval). Always answering the most frequent class would give " (percent(most as f64 / total.max(1) as f64))
                ". Mean cross-entropy: " (format!("{:.4}", input.evaluation.loss)) "."
            }
        }
        @if !input.summary.is_empty() {
            dl.facts { @for (key, value) in &input.summary { div { dt { (key) } dd { (value) } } } }
        }
    }
}

fn skipped(input: &Input<'_>) -> Markup {
    html! {
        section id="skipped" {
            h2 { "Skipped files" }
            @if input.skipped.is_empty() {
                p { "None: every picture could be read." }
            } @else {
                p {
                    (pictures(input.skipped.len())) " could not be read and took no part"
                    @if input.skipped.len() > MAX_SKIPPED { "; the first " (MAX_SKIPPED) " are listed" }
                    "."
                }
                div.wide tabindex="0" role="region" aria-label="Skipped files" {
                    table {
                        thead { tr { th scope="col" { "File" } th.text scope="col" { "Reason" } } }
                        tbody { @for file in input.skipped.iter().take(MAX_SKIPPED) { tr {
                            td.text { bdi { (file.path.display()) } }
                            td.text { bdi { (file.reason) } }
                        } } }
                    }
                }
            }
        }
    }
}
