//! Slow lines and slow stores: a transfer that moves is waited for, and an upload that was not refused is not aborted.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// Bytes of a blob of two parts.
const BLOB: usize = PART_BYTES + (4 << 20);

/// Lets time run, many times as fast as it does: paused, it would jump from timer to timer and not wait for a disk.
fn let_time_run() {
    tokio::spawn(async {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// A way to the server that takes so many bytes a second.
async fn slow_way(server: SocketAddr, bytes_per_second: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from, mut to) = client.into_split();
            let (mut answers, mut up) = TcpStream::connect(server).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut to).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; bytes_per_second];
                while let Ok(length @ 1..) = from.read(&mut buffer).await {
                    up.write_all(&buffer[..length]).await.unwrap();
                    // Small pieces pass at once.
                    if length > 4096 {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_keeps_a_large_blob_and_sends_each_byte_once() {
    let_time_run();
    let server = Server::start().await;
    // At this rate a part takes a minute.
    let way = slow_way(server.address, 128 << 10).await;
    let url = format!("s3://bucket/p?endpoint=http://{way}").parse().unwrap();
    let store = open(&url, SECRET_KEY, &server.dir.path().join("scratch")).unwrap();
    let begun = Instant::now();
    let key = put(&store, &content(1, BLOB)).await;
    assert!(begun.elapsed() > Duration::from_mins(1), "the line was not slow: {:?}", begun.elapsed());
    assert_eq!(*server.asked.lock().unwrap(), ["POST", "PUT", "PUT", "POST", "HEAD"]);
    assert_eq!(server.store("p", SECRET_KEY).stat(&key).await.unwrap().unwrap().length, BLOB as u64);
    // The same with a blob that is sent whole.
    server.asked.lock().unwrap().clear();
    put(&store, &content(2, PART_BYTES)).await;
    assert_eq!(*server.asked.lock().unwrap(), ["PUT", "HEAD"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_minutes_to_put_parts_together_is_asked_once_and_waited_for() {
    let_time_run();
    let server = Server::start().await;
    *server.manner.lock().unwrap() = Manner::CompletesIn(Duration::from_mins(4));
    let key = put(&server.store("p", SECRET_KEY), &content(1, BLOB)).await;
    assert_eq!(*server.asked.lock().unwrap(), ["POST", "PUT", "PUT", "POST", "HEAD"]);
    *server.manner.lock().unwrap() = Manner::Usual;
    assert_eq!(server.store("p", SECRET_KEY).stat(&key).await.unwrap().unwrap().length, BLOB as u64);
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_end_nobody_heard_of_is_not_taken_back() {
    let_time_run();
    let server = Server::start().await;
    let (store, bytes) = (server.store("p", SECRET_KEY), content(1, BLOB));
    // It is done, and the answer is lost.
    *server.manner.lock().unwrap() = Manner::LosesCompletions { is_done: true };
    let key = put(&store, &bytes).await;
    assert!(store.open(&key, None).await.unwrap().unwrap().body.collect(u64::MAX).await.unwrap() == bytes);
    assert!(!server.asked.lock().unwrap().contains(&"DELETE".to_owned()));
    // It is not done: whether the store is still at it nobody knows.
    *server.manner.lock().unwrap() = Manner::LosesCompletions { is_done: false };
    let other = content(2, BLOB);
    let draft = store.draft(&Key::blob(&Digest::sha256(&other)), Some(BLOB as u64)).await.unwrap();
    draft.write_at(0, other).await.unwrap();
    assert!(draft.commit(BLOB as u64).await.is_err());
    assert!(!server.asked.lock().unwrap().contains(&"DELETE".to_owned()));
    assert_eq!(server.unfinished.lock().unwrap().len(), 1, "its parts are left to the sweep");
}

/// A server that answers whatever it is asked at once, with a head, and then with a space every 11 seconds, as `MinIO` does
/// every 10 while it puts parts together.
async fn spaces_for_a_minute() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 4096]).await;
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
                for _ in 0..6 {
                    tokio::time::sleep(Duration::from_secs(11)).await;
                    let _ = socket.write_all(b" ").await;
                }
                let _ = socket.write_all(b"<done/>").await;
            });
        }
    });
    address
}

#[tokio::test(start_paused = true)]
async fn a_store_that_sends_spaces_while_it_puts_parts_together_is_waited_for() {
    let_time_run();
    let address = spaces_for_a_minute().await;
    let ask = async |method: Method| {
        let uri = format!("http://{address}/bucket/key?uploadId=7");
        let request = Request::builder().method(method).uri(uri).body(opendal::Buffer::new()).unwrap();
        client::transport().unwrap().send(request).await
    };
    let answer = ask(Method::POST).await.expect("what it says in the end");
    assert_eq!(answer.into_body().to_bytes(), Bytes::from_static(b"      <done/>"));
    assert!(ask(Method::GET).await.is_err(), "of a blob nothing may stay away for so long");
}
