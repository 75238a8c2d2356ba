"""EDS_TEMP_FILES: what is built is read as it was built and fits the contract; what senders write is read."""

import base64
import datetime as dt
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway import resources
from gateway.errors import MalformedMessage
from gateway.shep import names, temporary_storage
from gateway.shep.temporary_storage import (
    FileInfo,
    FileResult,
    FileUpload,
    StorageAction,
    StorageCredentials,
    StorageRequest,
    StorageResponse,
    build_storage_request,
    build_storage_response,
    decode_content,
    decoded,
    encode_content,
    encoded,
    read_storage_request,
    read_storage_response,
)
from gateway.xml import parse, to_bytes
from tests.shep.channel_values import ids, moments, xml_texts

CREDENTIALS = StorageCredentials("store", "hush")
life_times = st.none() | st.integers(0, 10**11).map(lambda ms: dt.timedelta(milliseconds=ms))
flags = st.none() | st.booleans()
contents = st.binary(max_size=40).map(encode_content)
uploads = st.builds(
    FileUpload,
    process_id=ids,
    content=contents,
    name=xml_texts,
    mime=xml_texts,
    life_time=life_times,
    needs_confirmation=flags,
)
maybe = st.none() | moments
file_infos = st.builds(
    FileInfo,
    name=xml_texts,
    mime=xml_texts,
    size_bytes=st.none() | st.integers(0, 2**63 - 1),
    uploaded_at=maybe,
    expires_at=maybe,
    needs_confirmation=flags,
    deleted=flags,
    deleted_at=maybe,
    confirmed=flags,
    confirmed_at=maybe,
)
credentials = st.builds(StorageCredentials, ids, xml_texts)
requests = st.one_of(
    st.builds(
        StorageRequest,
        action=st.just(StorageAction.UPLOAD),
        credentials=credentials,
        uploads=st.lists(uploads, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(
        StorageRequest,
        action=st.sampled_from([one for one in StorageAction if one is not StorageAction.UPLOAD]),
        credentials=credentials,
        file_ids=st.lists(ids, min_size=1, max_size=3).map(tuple),
    ),
)
uploaded = st.builds(FileResult, file_id=xml_texts, status=xml_texts, process_id=ids, life_time=life_times)
others = st.builds(FileResult, file_id=ids, status=xml_texts, content=st.none() | contents, info=st.none() | file_infos)


def fits(element: etree._Element) -> None:
    """The contract names the root in its namespace; on the wire it has none (SHEP.md 4)."""
    qualified = parse(to_bytes(element))
    qualified.tag = f"{{{names.TEMPORARY_STORAGE}}}{element.tag}"
    etree.XMLSchema(etree.parse(str(resources.path("wsdl/shep/temporary_storage.xsd")))).assertValid(qualified)


@given(requests)
def test_a_request_is_read_as_it_was_built(request: StorageRequest) -> None:
    payload = build_storage_request(request)
    fits(payload)
    assert read_storage_request(payload) == request


@given(st.data(), st.sampled_from(StorageAction), xml_texts)
def test_a_response_is_read_as_it_was_built(data: st.DataObject, action: StorageAction, status: str) -> None:
    one = uploaded if action is StorageAction.UPLOAD else others
    response = StorageResponse(action, status, data.draw(st.lists(one, max_size=3).map(tuple)))
    payload = build_storage_response(response)
    if all(result.content is None for result in response.results) or action is StorageAction.DOWNLOAD:
        fits(payload)
    assert read_storage_response(payload, action) == response


SENT = f"""<t:tempStorageRequest xmlns:t="{names.TEMPORARY_STORAGE}"><t:uploadRequest><t:fileUploadRequests>
    <t:name>a.pdf</t:name><t:content>AA
    AA</t:content><fileProcessIdentifier>1</fileProcessIdentifier><mime/><lifeTime>28800000</lifeTime>
    <needToBeConfirmed>0</needToBeConfirmed></t:fileUploadRequests></t:uploadRequest>
    <credentials><password>b</password><senderId>a</senderId></credentials><type>UPLOAD</type></t:tempStorageRequest>"""


def test_a_request_in_another_order_and_qualified_is_read() -> None:
    read = read_storage_request(parse(SENT.encode()))
    (upload,) = read.uploads
    assert (upload.process_id, upload.name, upload.mime) == ("1", "a.pdf", "")
    assert (upload.life_time, upload.needs_confirmation) == (dt.timedelta(hours=8), False)
    assert decode_content(upload.content) == b"\0\0\0"
    assert read.credentials == StorageCredentials("a", "b")


def test_a_status_with_fields_that_nobody_has_described_is_read_as_its_text() -> None:
    text = """<tempStorageResponse><downloadResponse><fileDownloadResults><status><code>0</code></status>
        <fileIdentifier>f</fileIdentifier></fileDownloadResults><status><x>fine</x></status></downloadResponse>
        </tempStorageResponse>"""
    read = read_storage_response(parse(text.encode()), StorageAction.DOWNLOAD)
    assert read == StorageResponse(StorageAction.DOWNLOAD, "fine", (FileResult("f", "0"),))


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(MalformedMessage) as refusal:
        act()
    return refusal.value.code


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("tempStorageRequest", "tempStorageResponse", "unexpected_payload"),
        ("<type>UPLOAD</type>", "", "missing_field"),
        ("<type>UPLOAD</type>", "<type>STORE</type>", "bad_value"),
        ("<type>UPLOAD</type>", "<type>CONFIRM</type>", "missing_field"),
        ("<type>UPLOAD</type>", "<type>UPLOAD</type><type>UPLOAD</type>", "repeated"),
        ("t:fileUploadRequests", "t:files", "missing_field"),
        ("28800000", "8h", "bad_value"),
        ("28800000", "9" * 20, "bad_value"),
        ("<needToBeConfirmed>0", "<needToBeConfirmed>maybe", "bad_value"),
        ("<senderId>a</senderId>", "", "missing_field"),
    ],
)
def test_what_is_no_request_is_refused(old: str, new: str, code: str) -> None:
    assert old in SENT
    assert refused(lambda: read_storage_request(parse(SENT.replace(old, new).encode()))) == code


def test_a_message_names_one_file_at_least_and_a_hundred_at_most() -> None:
    for count, code in ((0, "missing_field"), (temporary_storage.MAX_FILES + 1, "too_many_files")):
        request = StorageRequest(StorageAction.CONFIRM, CREDENTIALS, file_ids=("f",) * count)
        assert refused(lambda request=request: build_storage_request(request)) == code


def test_an_answer_to_another_type_of_request_is_refused() -> None:
    payload = build_storage_response(StorageResponse(StorageAction.UPLOAD, "OK"))
    assert refused(lambda: read_storage_response(payload, StorageAction.DOWNLOAD)) == "bad_value"


def test_an_endless_life_is_cut_to_a_long_one() -> None:
    read = read_storage_request(parse(SENT.replace("28800000", "9223372036854775807").encode()))
    assert read.uploads[0].life_time == temporary_storage.MAX_LIFE_TIME


@given(st.binary(max_size=200))
def test_content_comes_back_with_line_breaks_in_its_base64_too(content: bytes) -> None:
    assert decode_content(encode_content(content)) == content
    assert decode_content(base64.encodebytes(content).decode()) == content


@pytest.mark.parametrize("text", ["A", "AAA", "A=AA", "AAAA!", "қайырлы"])
def test_damaged_base64_is_refused(text: str) -> None:
    assert refused(lambda: decode_content(text)) == "bad_content"


def test_neither_password_nor_content_nor_file_name_is_in_a_repr() -> None:
    upload = FileUpload("1", "c2VjcmV0", "ivanov.pdf")
    shown = repr((StorageRequest(StorageAction.UPLOAD, CREDENTIALS, (upload,)), FileInfo("ivanov.pdf")))
    assert "hush" not in shown
    assert "c2VjcmV0" not in shown
    assert "ivanov" not in shown


@pytest.mark.parametrize("piece", [1, 2, 3, 4, 7, 64])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 100, 101])
def test_a_content_is_encoded_and_decoded_piece_by_piece_as_at_once(size: int, piece: int) -> None:
    content = bytes(range(size))
    text = b"".join(encoded(content[at : at + piece] for at in range(0, size, piece)))
    assert text.decode() == encode_content(content)
    lines = b"\r\n".join(text[at : at + 10] for at in range(0, len(text), 10)) + b"\n"
    assert b"".join(decoded(lines[at : at + piece] for at in range(0, len(lines), piece))) == content


@pytest.mark.parametrize("text", [b"A", b"AA", b"AAAAA", b"AA=AAAAA", b"A===", b"AAA=AAA=", b"AAAA====", b"AA-_", b"="])
@pytest.mark.parametrize("piece", [1, 3, 100])
def test_damaged_text_is_refused_wherever_its_pieces_end(text: bytes, piece: int) -> None:
    with pytest.raises(MalformedMessage) as refused:
        list(decoded(text[at : at + piece] for at in range(0, len(text), piece)))
    assert refused.value.code == "bad_content"
