//! Reads and writes the XML of multipart uploads. Responses are flat, so that elements are found by their names.

use std::io;

use quick_xml::escape::unescape;
use quick_xml::events::{BytesText, Event};
use quick_xml::{Reader, Writer};

/// Whether there is an element with this name.
pub(super) fn has(xml: &str, name: &str) -> bool {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag) | Event::Empty(tag)) if tag.local_name().as_ref() == name => return true,
            Ok(Event::Eof) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// What is inside of each element with this name, as XML. Ends at the first error.
pub(super) fn elements<'xml>(xml: &'xml str, name: &'static str) -> impl Iterator<Item = &'xml str> {
    let mut reader = Reader::from_str(xml);
    std::iter::from_fn(move || {
        loop {
            match reader.read_event().ok()? {
                Event::Start(tag) if tag.local_name().as_ref() == name => {
                    let span = reader.read_to_end(tag.name()).ok()?;
                    return xml.get(usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?);
                }
                Event::Eof => return None,
                _ => {}
            }
        }
    })
}

/// The text of the first element with this name.
pub(super) fn text(xml: &str, name: &'static str) -> Option<String> {
    let inner = elements(xml, name).next()?.trim();
    Some(unescape(inner).map_or_else(|_| inner.to_owned(), Into::into))
}

/// The request that completes an upload of parts with these entity tags, which need no escaping.
pub(super) fn complete_upload(tags: &[String]) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    writer.create_element("CompleteMultipartUpload").write_inner_content(|upload| {
        for (number, tag) in (1..=tags.len()).zip(tags) {
            upload.create_element("Part").write_inner_content(|part| {
                part.create_element("PartNumber").write_text_content(BytesText::new(&number.to_string()))?;
                part.create_element("ETag").write_text_content(BytesText::from_escaped(format!("\"{tag}\"")))?;
                Ok(())
            })?;
        }
        Ok(())
    })?;
    Ok(writer.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_found_with_a_namespace_attributes_and_entities() {
        let xml = "<?xml version=\"1.0\"?>\n<s3:Error xmlns:s3=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                   <s3:Code lang=\"en\"> Slow&amp;Down </s3:Code></s3:Error>";
        assert!(has(xml, "Error") && !has(xml, "Upload"));
        assert_eq!(text(xml, "Code").as_deref(), Some("Slow&Down"));
        assert_eq!(text(xml, "Message"), None);
    }

    #[test]
    fn a_list_that_breaks_off_gives_the_elements_before_that() {
        let xml = "<R><Upload><Key>a</Key></Upload><Upload><Key>b</Key></Upload><Upload><Key>c";
        let keys: Vec<_> = elements(xml, "Upload").filter_map(|upload| text(upload, "Key")).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(elements("no XML at all", "Upload").next(), None);
    }

    #[test]
    fn the_request_that_completes_an_upload_names_each_part_in_order() {
        let tags = ["abc".to_owned(), "def".to_owned()];
        assert_eq!(
            String::from_utf8(complete_upload(&tags).unwrap()).unwrap(),
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"abc\"</ETag></Part>\
             <Part><PartNumber>2</PartNumber><ETag>\"def\"</ETag></Part></CompleteMultipartUpload>"
        );
    }
}
