//! Each test runs on a thread of its own, which stands for a JavaScript environment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use crossrank_native_owner::{Jobs, OwnedThread, end_all, watch_once};

type Work = Box<dyn FnOnce() + Send>;

/// Generous: no test waits that long unless it fails.
const LIMIT: Duration = Duration::from_secs(60);

/// What the thread freed when it ended, told by its channel's end.
struct Session(Arc<AtomicUsize>);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn start(freed: &Arc<AtomicUsize>) -> Arc<OwnedThread<Work>> {
    let session = Session(freed.clone());
    OwnedThread::spawn(Builder::new(), move |jobs: Jobs<Work>| {
        let _session = session;
        for job in jobs {
            job();
        }
    })
    .expect("a thread starts")
}

/// A job that says when it begins, and goes on when it is let.
fn gate() -> (Work, Receiver<()>, Sender<()>) {
    let (begun, has_begun) = channel();
    let (go_on, may_go_on) = channel();
    let job: Work = Box::new(move || {
        begun.send(()).expect("the test waits");
        may_go_on.recv_timeout(LIMIT).expect("the test goes on");
    });
    (job, has_begun, go_on)
}

fn sent(owner: &OwnedThread<Work>, job: Work) {
    assert!(owner.send(job).is_ok(), "the owner takes jobs");
}

#[test]
fn jobs_are_done_in_their_order() {
    let owner = start(&Arc::default());
    let (done, order) = channel();
    for place in 0..1000 {
        let done = done.clone();
        sent(&owner, Box::new(move || done.send(place).expect("the test waits")));
    }
    drop(done);
    owner.hang_up();
    assert_eq!(order.iter().collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_closed_owner_does_what_it_has_and_takes_no_more() {
    let freed = Arc::default();
    let owner = start(&freed);
    let (job, has_begun, go_on) = gate();
    sent(&owner, job);
    has_begun.recv_timeout(LIMIT).expect("it begins");
    let (done, count) = channel();
    for _ in 0..10 {
        let done = done.clone();
        sent(&owner, Box::new(move || done.send(()).expect("the test waits")));
    }
    owner.hang_up();
    owner.hang_up();
    assert!(owner.send(Box::new(|| panic!("never done"))).is_err(), "the job comes back");
    go_on.send(()).expect("it waits");
    drop(done);
    assert_eq!(count.iter().count(), 10);
    end_all();
    assert_eq!(freed.load(Ordering::SeqCst), 1);
}

#[test]
fn the_end_of_an_environment_waits_for_the_job_under_way_and_drops_the_others() {
    let freed = Arc::default();
    let owners: Vec<_> = (0..3).map(|_| start(&freed)).collect();
    let (done, count) = channel();
    for owner in &owners {
        let (job, has_begun, go_on) = gate();
        let end = done.clone();
        sent(
            owner,
            Box::new(move || {
                job();
                end.send("under way").expect("the test waits");
            }),
        );
        has_begun.recv_timeout(LIMIT).expect("it begins");
        for _ in 0..5 {
            let end = done.clone();
            sent(owner, Box::new(move || end.send("queued").expect("the test waits")));
        }
        // It goes on only while the end waits for it.
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            go_on.send(()).expect("it waits");
        });
    }
    drop(done);
    end_all();
    assert_eq!(freed.load(Ordering::SeqCst), 3);
    assert!(owners.iter().all(|owner| owner.send(Box::new(|| ())).is_err()));
    assert!(count.iter().all(|what| what == "under way"));
}

#[test]
fn a_panic_ends_its_own_thread_and_no_other() {
    let freed = Arc::default();
    let (broken, sound) = (start(&freed), start(&freed));
    let (answer, answered) = channel::<()>();
    sent(
        &broken,
        Box::new(move || {
            let _answer = answer;
            panic!("as a test wants it");
        }),
    );
    // Whoever waits for an answer is told, since the job is dropped.
    assert!(answered.recv_timeout(LIMIT).is_err());
    let (done, has_done) = channel();
    sent(&sound, Box::new(move || done.send(()).expect("the test waits")));
    has_done.recv_timeout(LIMIT).expect("the other still works");
    end_all();
    assert_eq!(freed.load(Ordering::SeqCst), 2);
    assert!(broken.send(Box::new(|| ())).is_err());
}

#[test]
fn an_environment_is_watched_once_and_anew_after_its_end() {
    let calls = AtomicUsize::new(0);
    let watch = || {
        watch_once(|| {
            calls.fetch_add(1, Ordering::SeqCst);
            Ok::<(), ()>(())
        })
    };
    assert_eq!(watch_once(|| Err("no hook")), Err("no hook"));
    watch().expect("it is watched");
    watch().expect("it is watched");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    std::thread::spawn(|| assert_eq!(watch_once(|| Err("another")), Err("another")))
        .join()
        .expect("another environment is another");
    end_all();
    watch().expect("it is watched");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[test]
fn an_environment_forgets_owners_whose_thread_has_ended() {
    let freed = Arc::default();
    let weak: Vec<_> = (0..50)
        .map(|_| {
            let owner = start(&freed);
            owner.hang_up();
            Arc::downgrade(&owner)
        })
        .collect();
    let begun = std::time::Instant::now();
    while freed.load(Ordering::SeqCst) < 50 {
        assert!(begun.elapsed() < LIMIT, "the threads end");
        std::thread::yield_now();
    }
    // A thread counts as ended a moment after it freed its session.
    while weak.iter().any(|owner| owner.strong_count() > 0) {
        assert!(begun.elapsed() < LIMIT, "they are forgotten");
        start(&Arc::default()).hang_up();
    }
    end_all();
}

#[test]
fn the_end_of_an_environment_is_not_that_of_another() {
    let freed = Arc::default();
    let owner = start(&freed);
    std::thread::spawn(|| {
        start(&Arc::default());
        end_all();
    })
    .join()
    .expect("the other ends");
    let (done, has_done) = channel();
    sent(&owner, Box::new(move || done.send(()).expect("the test waits")));
    has_done.recv_timeout(LIMIT).expect("it still works");
    end_all();
    assert_eq!(freed.load(Ordering::SeqCst), 1);
}
