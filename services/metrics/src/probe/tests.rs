//! Reading what targets expose.

use super::text::{Sample, parse, sums};

fn sample(name: &str, instance: &str, value: f64) -> Sample<'static> {
    Sample { name: name.to_owned().leak(), instance: instance.into(), value }
}

#[test]
fn the_text_format_is_read() {
    let text = "# HELP a Something {odd} \"here\"\n\
                # TYPE a counter\n\
                a 1\n\
                a_total{path=\"/x,y}=\\\"z\\\"\\n\",instance=\"10.0.0.1:80\"} 2.5e3 1700000000000\n\
                \n\
                b{} +Inf\n\
                c{instance = \"i\" , } NaN # {trace=\"x\"} 1\n\
                d{le=\"0.5\",} -3\r\n\
                # EOF\n";
    let samples = parse(text).unwrap();
    let expected = [
        sample("a", "", 1.0),
        sample("a_total", "10.0.0.1:80", 2_500.0),
        sample("b", "", f64::INFINITY),
        sample("c", "i", f64::NAN),
        sample("d", "", -3.0),
    ];
    assert_eq!(samples.len(), expected.len());
    for (found, expected) in samples.iter().zip(&expected) {
        assert_eq!((found.name, &found.instance), (expected.name, &expected.instance));
        assert!(found.value.total_cmp(&expected.value).is_eq(), "{found:?}");
    }
}

#[test]
fn lines_that_are_none_are_named() {
    for (text, expected) in [
        ("a 1\nb\n", "line 2: b has no value"),
        ("a one\n", "line 1: a has the value \"one\", expected a number"),
        ("{x=\"y\"} 1\n", "line 1: expected a metric name"),
        ("a{x=\"y\" 1\n", "line 1: labels without an end"),
        ("a{x=\"y} 1\n", "line 1: a label value without an end"),
        ("a{x=y} 1\n", "line 1: a label value without quotes"),
    ] {
        assert_eq!(parse(text).unwrap_err(), expected, "{text:?}");
    }
}

#[test]
fn sums_are_by_instance_and_a_counter_needs_no_suffix() {
    let samples = [
        sample("hits_total", "b", 1.0),
        sample("hits_total", "a", 2.0),
        sample("hits_total", "a", 3.0),
        sample("hits_total", "a", f64::NAN),
        sample("other", "", 9.0),
    ];
    let expected = vec![("a".to_owned(), 5.0), ("b".to_owned(), 1.0)];
    assert_eq!(sums(&samples, "hits_total"), expected);
    assert_eq!(sums(&samples, "hits"), expected);
    assert_eq!(sums(&samples, "hit"), Vec::new());
    assert_eq!(sums(&samples, "other"), vec![(String::new(), 9.0)]);
}
