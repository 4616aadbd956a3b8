use std::future::poll_fn;
use std::io::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use http_body::Frame;
use registry_proxy_core::Body;
use registry_proxy_core::body::{BodyError, BodyPart, BodyParts, ByParts, PolledPart};

use super::*;
use crate::store::Residency;

/// What it was told.
#[derive(Default, Clone)]
struct Told(Arc<Mutex<(u64, bool)>>);

impl Observe for Told {
    fn arrived(&mut self, bytes: u64) {
        self.0.lock().unwrap().0 += bytes;
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // Of the clones, the one that a body has is dropped first.
        self.0.lock().unwrap().1 = true;
    }
}

struct Unread;

impl http_body::Body for Unread {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        panic!("read, and not sent as a file");
    }
}

async fn pair() -> (TcpStream, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let stream = listener.accept().await.unwrap().0;
    (client, Socket::new(stream, IdleTimeouts::of_test()))
}

#[tokio::test]
async fn bytes_count_when_the_socket_has_taken_them_and_the_record_ends_with_the_last() {
    let content: Vec<u8> = (0..3 << 20).map(|n: u32| (n % 251) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    let (mut client, mut socket) = pair().await;
    let told = Told::default();
    let seen = Arc::clone(&told.0);
    let slice = FileSlice::new(file, Residency::Reported, 1000, content.len() as u64);
    let body = Body::native(Unread, slice.end - slice.first, slice).observed(told);
    let (mut body, is_file) = socket.queue().take(body);
    assert!(is_file);
    let (mut sent, mut received) = (0, Vec::new());
    while let Some(placeholder) = body.chunk().await {
        let mut placeholder = placeholder.unwrap();
        assert_eq!(seen.lock().unwrap().0, sent, "a placeholder that nothing was sent of");
        while !placeholder.is_empty() {
            let written = poll_fn(|cx| match Pin::new(&mut socket).poll_write(cx, &placeholder) {
                Poll::Pending => Poll::Ready(None),
                Poll::Ready(done) => Poll::Ready(Some(done.unwrap())),
            });
            if let Some(bytes) = written.await {
                sent += bytes as u64;
                drop(placeholder.split_to(bytes));
            } else {
                let mut some = vec![0; 64 << 10];
                let read = client.read(&mut some).await.unwrap();
                received.extend_from_slice(&some[..read]);
            }
            assert_eq!(seen.lock().unwrap().0, sent);
        }
    }
    drop(body);
    assert!(seen.lock().unwrap().1, "the record ends when the last byte has left");
    socket.shutdown().await.unwrap();
    drop(socket);
    client.read_to_end(&mut received).await.unwrap();
    assert!(received == content[1000..], "other bytes");
}

/// Parts of a file that is being written, the next each time the test has let it come.
struct Arriving(std::sync::mpsc::Receiver<BodyPart>);

impl BodyParts for Arriving {
    fn poll_part(&mut self, _: &mut Context<'_>) -> PolledPart {
        match self.0.try_recv() {
            Ok(part) => Poll::Ready(Some(Ok(part))),
            Err(std::sync::mpsc::TryRecvError::Empty) => Poll::Pending,
            Err(std::sync::mpsc::TryRecvError::Disconnected) => Poll::Ready(None),
        }
    }
}

#[tokio::test]
async fn a_file_that_is_being_written_is_sent_as_far_as_it_is_there_and_then_from_memory() {
    let content: Vec<u8> = (0..200_000).map(|n: u32| (n % 251) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    let file_slice =
        |file: &File, first, end| FileSlice::new(file.try_clone().unwrap(), Residency::Reported, first, end);
    let (mut client, mut socket) = pair().await;
    let told = Told::default();
    let seen = Arc::clone(&told.0);
    let (comes, parts) = std::sync::mpsc::channel();
    let body = Body::native(Unread, 200_000, ByParts(Box::new(Arriving(parts)))).observed(told);
    let (mut body, is_file) = socket.queue().take(body);
    assert!(is_file);
    assert!(body.chunk().now_or_never().is_none(), "nothing is there yet");
    file.write_all(&content[..150_000]).unwrap();
    for (first, end) in [(0, 90_000), (90_000, 150_000)] {
        let handle = Box::new(file_slice(&file, first, end));
        comes.send(BodyPart::Native { handle, length: end - first }).unwrap();
        let placeholder = body.chunk().await.unwrap().unwrap();
        assert!(is_placeholder(&placeholder));
        socket.write_all(&placeholder).await.unwrap();
        assert_eq!(seen.lock().unwrap().0, end, "what the socket has taken counts");
    }
    comes.send(BodyPart::Bytes(Bytes::copy_from_slice(&content[150_000..]))).unwrap();
    let rest = body.chunk().await.unwrap().unwrap();
    assert!(!is_placeholder(&rest));
    assert!(http_body::Body::is_end_stream(&body), "nothing more comes");
    socket.write_all(&rest).await.unwrap();
    drop(body);
    assert_eq!(*seen.lock().unwrap(), (200_000, true));
    socket.shutdown().await.unwrap();
    drop(socket);
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert!(received == content, "other bytes");
}

#[tokio::test]
async fn a_file_that_is_no_longer_written_ends_its_body_short() {
    let (_client, socket) = pair().await;
    let (comes, parts) = std::sync::mpsc::channel();
    let body = Body::native(Unread, 1000, ByParts(Box::new(Arriving(parts))));
    let (mut body, _) = socket.queue().take(body);
    comes.send(BodyPart::Bytes(Bytes::from_static(&[7; 400]))).unwrap();
    drop(comes);
    assert_eq!(body.chunk().await.unwrap().unwrap().len(), 400);
    let end = body.chunk().await.unwrap();
    assert!(matches!(end, Err(BodyError::Short { missing_bytes: 600 })));
    assert!(body.chunk().await.is_none());
}
