//! The charts of the one timeline, drawn as SVG by charts-rs.
//!
//! All share the x axis (seconds from the run's start) and the same plot edges, so that the page can lay phase
//! shading and a crosshair over them by percentages of the width.

use charts_rs::{AxisScale, Box as Margin, Color, LineChart, LineStep, Series, Symbol, YAxisConfig};

use crate::run_dir::WriteError;

/// Width of the drawing; the page scales it.
pub(crate) const WIDTH: f32 = 1_120.0;
/// Where plots begin and end, from the left edge.
pub(crate) const LEFT: f32 = 64.0;
/// Distance of the plot's end from the right edge.
pub(crate) const RIGHT: f32 = 12.0;
/// Height of the x axis with its labels, beneath the plot.
pub(crate) const FOOT: f32 = 26.0;

/// One line of a chart.
pub(crate) struct Line {
    /// As the legend names it.
    pub(crate) name: &'static str,
    /// `#rrggbb`, readable on white and on dark.
    pub(crate) color: &'static str,
    /// Values at the chart's x values; none = a gap.
    pub(crate) values: Vec<Option<f64>>,
    /// Dashed lines are what was wanted or expected.
    pub(crate) dashed: bool,
    /// Fill down to the axis.
    pub(crate) filled: bool,
}

/// One chart.
pub(crate) struct Chart {
    /// Heading.
    pub(crate) title: &'static str,
    /// What the y axis measures.
    pub(crate) unit: &'static str,
    /// Height in the drawing's pixels.
    pub(crate) height: f32,
    /// Logarithmic y axis.
    pub(crate) logarithmic: bool,
    /// Fixed top of the y axis.
    pub(crate) top: Option<f64>,
    /// The lines.
    pub(crate) lines: Vec<Line>,
}

/// Draws a chart over `x` (seconds) between `from` and `end`.
pub(crate) fn svg(chart: &Chart, x: &[f64], from: f64, end: f64) -> Result<String, WriteError> {
    let series = chart.lines.iter().map(|line| series(line, chart.logarithmic)).collect();
    let mut drawing = LineChart::new(series, Vec::new());
    drawing.width = WIDTH;
    drawing.height = chart.height;
    drawing.margin = Margin { left: 4.0, top: 8.0, right: 4.0, bottom: 0.0 };
    drawing.background_color = Color::transparent();
    drawing.compact = true;
    drawing.font_family = "system-ui, sans-serif".to_owned();
    drawing.legend.show = Some(false);
    drawing.grid.left = Some(LEFT);
    drawing.grid.right = Some(RIGHT);
    let muted = Color::from((132, 140, 152, 255));
    drawing.grid.stroke_color = Color::from((132, 140, 152, 56));
    drawing.x_axis.values = x.to_vec();
    drawing.x_axis.min = Some(from);
    drawing.x_axis.max = Some(end);
    drawing.x_axis.formatter = Some("{c} s".to_owned());
    drawing.x_axis.font.color = muted;
    drawing.x_axis.font.size = 12.0;
    drawing.x_axis.stroke_color = muted;
    drawing.series.colors = chart.lines.iter().map(|line| line.color.into()).collect();
    drawing.series.stroke_width = 1.75;
    drawing.series.symbol = Some(Symbol::None);
    let axis = YAxisConfig {
        width: Some(LEFT - 8.0),
        split_number: if chart.logarithmic { decades(&chart.lines) } else { 4 },
        formatter: Some(if chart.logarithmic { "{c}" } else { "{t}" }.to_owned()),
        min: (!chart.logarithmic).then_some(0.0),
        max: chart.top.map(single),
        scale: if chart.logarithmic { AxisScale::Log(10.0) } else { AxisScale::Linear },
        ..drawing.y_axis_configs.first().cloned().unwrap_or_default()
    };
    drawing.y_axis_configs = vec![axis];
    if let Some(axis) = drawing.y_axis_configs.first_mut() {
        axis.font.color = muted;
        axis.font.size = 12.0;
    }
    drawing.svg().map_err(|error| WriteError::Render(format!("chart {:?}: {error}", chart.title)))
}

/// Decades from the least value to the largest, as charts-rs counts them: split into as many, a logarithmic axis has a label for each.
/// Split into fewer, it skips some, and writes the labels that are left at even distances, also where the last step is shorter than
/// the others: beside values that they do not stand for.
fn decades(lines: &[Line]) -> usize {
    let values = lines.iter().flat_map(|line| line.values.iter().flatten()).map(|value| single(*value));
    let (least, most) = values
        .filter(|value| *value > 0.0)
        .fold((f32::MAX, f32::MIN_POSITIVE), |(least, most), value| (least.min(value), most.max(value)));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 77, and not negative"
    )]
    let decades = (most.log10().ceil() - least.log10().floor()).max(1.0) as usize;
    decades
}

fn series(line: &Line, logarithmic: bool) -> Series {
    // A logarithm has no zero: such a point is a gap there.
    let keep = |value: f64| !logarithmic || value > 0.0;
    let values = line.values.iter().map(|value| value.filter(|v| keep(*v)).map(single)).collect();
    let mut series = Series::new_nullable(line.name.to_owned(), values);
    series.stroke_dash_array = line.dashed.then(|| "5,4".to_owned());
    series.fill = Some(line.filled);
    series.smooth = Some(false);
    series.step = line.dashed.then_some(LineStep::End);
    series
}

#[expect(clippy::cast_possible_truncation, reason = "a pixel needs no more than single precision")]
const fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text and height of each label of the y axis, from the top.
    fn labels(svg: &str) -> Vec<(String, f64)> {
        let texts = svg.split("<text ").skip(1).filter_map(|text| {
            let (attributes, rest) = text.split_once('>')?;
            let (label, _) = rest.split_once('<')?;
            let (_, y) = attributes.split_once(" y=\"")?;
            let (y, _) = y.split_once('"')?;
            Some((label.trim().to_owned(), y.parse().ok()?))
        });
        // Those of the x axis are seconds.
        texts.filter(|(label, _)| !label.ends_with(" s")).collect()
    }

    #[test]
    fn each_decade_of_a_logarithmic_axis_has_its_label() {
        let values = vec![Some(0.2), Some(139.0), Some(7_000.0)];
        let line = Line { name: "p99", color: "#3b82f6", values, dashed: false, filled: false };
        let chart = Chart {
            title: "Latency",
            unit: "ms",
            height: 180.0,
            logarithmic: true,
            top: None,
            lines: vec![line],
        };
        let labels = labels(&svg(&chart, &[0.0, 1.0, 2.0], 0.0, 2.0).unwrap());
        let texts: Vec<&str> = labels.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["10k", "1k", "100", "10", "1", "0.1"]);
        let steps: Vec<f64> = labels.windows(2).map(|two| two[1].1 - two[0].1).collect();
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 0.5), "{steps:?}");
    }
}
