//! Criterion over the subjects of one pattern.

use buttress_benches::{Subject, runtime};
use criterion::Criterion;
use tokio::time::Instant;

pub(crate) fn compare(pattern: &str) {
    let runtime = runtime().expect("the system has a clock");
    let _inside = runtime.enter();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group(pattern);
    for subject in Subject::ALL.iter().filter(|subject| subject.pattern == pattern) {
        let mut run = subject.build();
        group.bench_function(subject.name, |bencher| {
            bencher.iter_custom(|calls| {
                let start = Instant::now();
                run.calls(calls);
                start.elapsed()
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
