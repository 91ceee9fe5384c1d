//! Loss, accuracy and learning rate over the epochs.

use std::ops::Range;

use anyhow::Result;
use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;
use svertka::train::EpochRecord;

use super::percent;

/// Width and height of a chart in pixels before the page scales it.
const SIZE: (u32, u32) = (360, 240);
const TRAINING: RGBColor = RGBColor(0x1b, 0x7a, 0xb8);
const VALIDATION: RGBColor = RGBColor(0xd9, 0x5f, 0x02);
/// The page's style gives this one another colour on a dark background.
const INK: RGBColor = RGBColor(0x66, 0x66, 0x66);

/// One line: its colour, whether it is dashed, and its value in an epoch.
type Line = (RGBColor, bool, fn(&EpochRecord) -> f64);

const LOSS: [Line; 2] =
    [(TRAINING, true, |epoch| epoch.train_loss), (VALIDATION, false, |epoch| epoch.val_loss)];
const ACCURACY: [Line; 2] =
    [(TRAINING, true, |epoch| epoch.train_accuracy), (VALIDATION, false, |epoch| epoch.val_accuracy)];
const RATE: [Line; 1] = [(INK, false, |epoch| epoch.lr)];

pub(super) fn section(history: &[EpochRecord]) -> Result<Markup> {
    let best = history.iter().rfind(|epoch| epoch.best);
    let charts = [
        ("Loss", chart(history, &LOSS, |value| format!("{value:.2}"))?),
        ("Accuracy", chart(history, &ACCURACY, |value| format!("{:.1} %", 100.0 * value))?),
        ("Learning rate", chart(history, &RATE, |value| format!("{value:.3}"))?),
    ];
    Ok(html! {
        section id="curves" {
            h2 { "How it learned" }
            @if history.is_empty() {
                p { "This model was evaluated, not trained: there are no epochs to show." }
            } @else {
                p {
                    span.key.training { "training pictures" } ", " span.key.validation { "validation pictures" } ", epoch by epoch. "
                    @if let Some(best) = best {
                        "The vertical line marks the epoch that was kept: " b { (best.epoch) } " of " (history.len())
                        ", with " (percent(best.val_accuracy)) " of the validation pictures right. "
                    }
                    "Training figures are taken while the weights still change and on pictures as they were shown, changed at random "
                    "where training asked for it: they may well be worse than validation."
                }
                div.charts {
                    @for (title, svg) in &charts {
                        figure {
                            figcaption { (title) }
                            div.chart role="img" aria-label={ (title) " over " (history.len()) " epochs; the numbers are in the table below" } {
                                (PreEscaped(svg))
                            }
                        }
                    }
                }
                details {
                    summary { "The same as numbers" }
                    (numbers(history))
                }
            }
        }
    })
}

fn numbers(history: &[EpochRecord]) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label="Figures of each epoch" {
            table {
                thead { tr {
                    @for head in ["Epoch", "Training loss", "Training accuracy", "Validation loss", "Validation accuracy", "Learning rate", "Seconds"] {
                        th scope="col" { (head) }
                    }
                } }
                tbody { @for epoch in history { tr {
                    th scope="row" { (epoch.epoch) @if epoch.best { " (best so far)" } }
                    td { (format!("{:.4}", epoch.train_loss)) }
                    td { (percent(epoch.train_accuracy)) }
                    td { (format!("{:.4}", epoch.val_loss)) }
                    td { (percent(epoch.val_accuracy)) }
                    td { (format!("{:.2e}", epoch.lr)) }
                    td { (format!("{:.1}", epoch.seconds)) }
                } } }
            }
        }
    }
}

/// An SVG of the lines over the epochs, without text other than the axes' numbers. Values that are no numbers are left out.
fn chart(history: &[EpochRecord], lines: &[Line], label: fn(&f64) -> String) -> Result<String> {
    let mut svg = String::new();
    let epochs = history.iter().map(|epoch| epoch.epoch as u32);
    let (first, last) = (epochs.clone().min().unwrap_or(1), epochs.max().unwrap_or(1));
    // A single epoch stands in the middle of its axis.
    let span = if first == last { first.saturating_sub(1)..last.saturating_add(1) } else { first..last };
    let values =
        lines.iter().flat_map(|(_, _, value)| history.iter().map(value)).filter(|value| value.is_finite());
    let range = margin(values);
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(26)
            .y_label_area_size(52)
            .build_cartesian_2d(span, range.clone())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.3))
            .axis_style(INK)
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .x_labels(6)
            .y_labels(5)
            .y_label_formatter(&label)
            .draw()?;
        if let Some(best) = history.iter().rfind(|epoch| epoch.best) {
            let epoch = best.epoch as u32;
            chart.draw_series(LineSeries::new(
                [(epoch, range.start), (epoch, range.end)],
                INK.stroke_width(1),
            ))?;
        }
        for &(colour, dashed, value) in lines {
            let points: Vec<(u32, f64)> = history
                .iter()
                .map(|epoch| (epoch.epoch as u32, value(epoch)))
                .filter(|(_, value)| value.is_finite())
                .collect();
            if dashed {
                chart.draw_series(DashedLineSeries::new(
                    points.iter().copied(),
                    6,
                    4,
                    colour.stroke_width(2),
                ))?;
            } else {
                chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
            }
            // One epoch makes no line.
            let dots = points.iter().filter(|_| points.len() < 12);
            chart.draw_series(dots.map(|&point| Circle::new(point, 3, colour.filled())))?;
        }
        area.present()?;
    }
    // Within HTML an SVG needs no namespace, and the page then holds no address at all.
    Ok(svg.replace(" xmlns=\"http://www.w3.org/2000/svg\"", ""))
}

/// From the smallest to the largest value, and a little further.
fn margin(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return 0.0..1.0;
    }
    let margin = if high > low { (high - low) * 0.06 } else { high.abs().max(1e-3) * 0.5 };
    low - margin..high + margin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: usize, val_accuracy: f64, best: bool) -> EpochRecord {
        EpochRecord {
            epoch,
            lr: 0.1,
            train_loss: 1.5,
            train_accuracy: 0.5,
            val_loss: f64::NAN,
            val_accuracy,
            best,
            seconds: 1.0,
            data_seconds: 0.0,
        }
    }

    #[test]
    fn the_last_of_the_best_epochs_is_named() {
        let history = [record(1, 0.5, true), record(2, 0.75, true), record(3, 0.25, false)];
        let page = section(&history).unwrap().into_string();
        assert!(page.contains("<b>2</b> of 3, with 75.0\u{a0}% of"), "{page}");
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("<tr>").count(), 4);
    }

    #[test]
    fn one_epoch_is_a_dot_and_none_a_sentence() {
        assert!(section(&[record(1, 0.5, true)]).unwrap().into_string().contains("<circle"));
        let none = section(&[]).unwrap().into_string();
        assert!(none.contains("no epochs") && !none.contains("<svg"));
    }

    #[test]
    fn ranges_hold_their_values() {
        assert_eq!(margin([].into_iter()), 0.0..1.0);
        for values in [vec![0.0], vec![-3.0, -3.0], vec![0.25, 8.0]] {
            let range = margin(values.iter().copied());
            assert!(values.iter().all(|value| range.contains(value)), "{range:?}");
        }
    }
}
