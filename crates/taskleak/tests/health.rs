//! What the detector says of itself, in a process without a subscriber; also in one that was
//! built without `--cfg tokio_unstable` (`.ci/run` builds this so).

use taskleak::{Detector, Reason};

#[test]
fn the_cause_of_not_recording_is_told() {
    let (subscriber, detector) = Detector::builder().wrap(tracing::subscriber::NoSubscriber::new());
    let reason = detector.verify().unwrap_err().reason();
    if cfg!(not(tokio_unstable)) {
        assert_eq!(reason, Reason::NoTokioUnstable);
        let error = Detector::builder().install().unwrap_err().to_string();
        assert!(error.contains("cannot install the detector"), "{error}");
        assert!(error.contains("--cfg tokio_unstable"), "{error}");
    } else {
        assert_eq!(reason, Reason::NotInstalled);
    }

    let snapshot = detector.snapshot();
    assert!(!snapshot.health.recording);
    let told = |text: &str| text.contains("taskleak records no tasks");
    assert!(snapshot.health.problems.iter().any(|problem| told(problem)));
    let text = snapshot.to_string();
    let top: Vec<&str> = text.lines().take(5).collect();
    assert!(top.iter().any(|line| told(line)), "{text}");

    if cfg!(tokio_unstable) {
        tracing::subscriber::set_global_default(subscriber).unwrap();
        detector.verify().unwrap();
        assert!(detector.snapshot().health.recording);
        let other = Detector::builder().install().unwrap_err().to_string();
        assert!(other.contains("installed already"), "{other}");
    }
}
