use super::*;

fn open() -> (Sqlite, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(&dir.path().join("gauntlet.db"), 8).unwrap();
    (sqlite, dir)
}

async fn pragma(sqlite: &Sqlite, text: &'static str) {
    let run = move |sql: &mut dyn Sql| sql.query(text, &[]);
    // A transaction of its own would keep some of them from taking effect: the reader has none, the writer none between.
    sqlite.write(run).await.unwrap();
}

fn insert(sql: &mut dyn Sql, bytes: usize) -> Result<(), Fault> {
    let text = "INSERT INTO results (run, name, payload) VALUES (randomblob(16), 'x', zeroblob($1))";
    sql.execute(text, &[i64::try_from(bytes).unwrap().into()])?;
    Ok(())
}

async fn count(sqlite: &Sqlite) -> i64 {
    sqlite.read(|sql| number(sql, "SELECT COUNT(*) FROM results")).await.unwrap()
}

fn number(sql: &mut dyn Sql, query: &str) -> Result<i64, Fault> {
    sql.first(query, &[])?.unwrap().take(0)
}

#[tokio::test]
async fn a_full_disk_is_its_own_error_and_the_store_goes_on_when_there_is_room() {
    let (sqlite, _dir) = open();
    sqlite.write(|sql| insert(sql, 10)).await.unwrap();
    pragma(&sqlite, "PRAGMA max_page_count = 64").await;
    let result = sqlite.write(|sql| insert(sql, 1 << 20)).await;
    assert!(matches!(&result, Err(StoreError::DiskFull { place }) if place == sqlite.place()), "{result:?}");
    assert_eq!(count(&sqlite).await, 1);
    pragma(&sqlite, "PRAGMA max_page_count = 1073741823").await;
    sqlite.write(|sql| insert(sql, 1 << 20)).await.unwrap();
    assert_eq!(count(&sqlite).await, 2);
}

#[tokio::test]
async fn a_full_disk_fails_whole_transactions_or_single_writes_but_never_lies() {
    let (sqlite, _dir) = open();
    pragma(&sqlite, "PRAGMA max_page_count = 64").await;
    let (release, held) = std::sync::mpsc::channel::<()>();
    // While the first is held, the others gather for one transaction.
    let first = sqlite.write(move |_| Ok(held.recv().is_ok()));
    let others = async {
        let sizes = [10, 1 << 20, 10, 10];
        let mut writes: Vec<_> =
            sizes.map(|size| Box::pin(sqlite.write(move |sql| insert(sql, size)))).into();
        for write in &mut writes {
            let polled =
                std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context))).await;
            assert!(polled.is_pending());
        }
        release.send(()).unwrap();
        let mut stored = 0;
        for (write, size) in writes.into_iter().zip(sizes) {
            match write.await {
                Ok(()) => {
                    assert_eq!(size, 10);
                    stored += 1;
                }
                Err(error) => assert!(matches!(error, StoreError::DiskFull { .. }), "{error}"),
            }
        }
        stored
    };
    let (_, stored) = tokio::join!(first, others);
    assert_eq!(count(&sqlite).await, stored);
    sqlite.write(|sql| insert(sql, 10)).await.unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_its_own_error() {
    let (sqlite, _dir) = open();
    // As the reader has it, and as SQLite has a file without the right to write.
    let result = sqlite.read(|sql| insert(sql, 1)).await;
    assert!(matches!(result, Err(StoreError::ReadOnly { .. })), "{result:?}");
}

#[tokio::test]
async fn every_write_is_flushed_before_it_returns() {
    let (sqlite, _dir) = open();
    let settings = |sql: &mut dyn Sql| {
        let mode: String = sql.first("PRAGMA journal_mode", &[])?.unwrap().take(0)?;
        Ok((mode, number(sql, "PRAGMA synchronous")?))
    };
    // 2 = FULL.
    assert_eq!(sqlite.write(settings).await.unwrap(), ("wal".to_owned(), 2));
}

#[tokio::test]
async fn callers_wait_when_the_queue_is_full_and_nothing_is_lost() {
    let (sqlite, _dir) = open();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let first = sqlite.write(move |_| Ok(held.recv().is_ok()));
    let more = async {
        let writes = (0..100).map(|_| sqlite.write(|sql| insert(sql, 1)));
        let mut writes: Vec<_> = writes.map(Box::pin).collect();
        // Each is polled once: eight fit the queue, the others wait for room.
        for write in &mut writes {
            let polled =
                std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context))).await;
            assert!(polled.is_pending());
        }
        assert_eq!(sqlite.writer.capacity(), 0);
        release.send(()).unwrap();
        for write in writes {
            write.await.unwrap();
        }
    };
    let (first, ()) = tokio::join!(first, more);
    assert!(first.unwrap());
    assert_eq!(count(&sqlite).await, 100);
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_undo_its_write() {
    let (sqlite, _dir) = open();
    let mut write = Box::pin(sqlite.write(|sql| insert(sql, 1)));
    let polled = std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context))).await;
    drop(write);
    drop(polled);
    // The queue is in order: this one is done after the one that was given up.
    sqlite.write(|_| Ok(())).await.unwrap();
    assert_eq!(count(&sqlite).await, 1);
}
