"""Each corpus in its true layout, with its blemishes; several joined in one run; the checks and their command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest

from precompute.__main__ import main
from precompute.config import ConfigError, build, to_dict
from precompute.config_sections import CorpusEntry, CorpusName
from precompute.datasets import DatasetError, Entry
from precompute.datasets.check import check
from precompute.datasets.corpora import CORPORA, entries_of, open_corpora
from precompute.datasets.listing import AudioIndex, Notes, distinct
from tests.fixtures import corpora


def listed(name: str, root: Path, notes: Notes | None = None, **more: Any) -> dict[str, Entry]:
    entry = CorpusEntry(name, **more)
    return {e.clip_id: e for e in distinct(entries_of(entry, root, notes or Notes()))}


def left_out(name: str, root: Path, **more: Any) -> list[str]:
    return check(CorpusEntry(name, **more), root).left_out


def test_every_name_of_the_configuration_has_an_adapter_that_says_what_it_needs() -> None:
    assert list(CORPORA) == list(get_args(CorpusName))
    for corpus in CORPORA.values():
        for word in ("On disk", "Licence", "/"):
            assert word in corpus.layout, (corpus.name, word)


def test_every_corpus_and_option_is_in_the_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs/corpora.md").read_text()
    words = {word for corpus in CORPORA.values() for word in (corpus.name, *corpus.options)}
    assert [word for word in sorted(words) if f"`{word}`" not in guide] == []
    published = {corpus.expected.get("", 0) for corpus in CORPORA.values()} - {0}
    assert [count for count in sorted(published) if f"{count:,}" not in guide] == []


def test_the_index_of_audio_prefers_flac_and_passes_over_what_is_hidden(tmp_path: Path) -> None:
    for name in ("a.aiff", "b/a.flac", "b/a.wav", ".c/d.wav", "b/._e.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    index = AudioIndex(tmp_path)
    assert len(index) == 1
    assert index.find("none", "a") == tmp_path / "b/a.flac"
    assert index.find("d", "_e", "._e", "notes") is None


# --- WavCaps ---


def test_wavcaps_finds_flac_files_by_ids_that_end_in_wav(tmp_path: Path) -> None:
    notes = Notes()
    found = listed("wavcaps", corpora.wavcaps(tmp_path), notes, part="AudioSet_SL")
    first = found["wavcaps/AudioSet_SL/Yb0RFKhbpFJA"]
    assert first.file == tmp_path / "Zip_files/AudioSet_SL" / corpora.UNPACKED / "AudioSet_SL_flac/Yb0RFKhbpFJA.flac"
    assert first.file.is_file()
    assert (first.caption, first.key, first.split) == ("Wind blows and a man speaks.", "youtube:b0RFKhbpFJA", "")
    assert found["wavcaps/AudioSet_SL/Y-0xzrMun0Rs"].caption == "A dog barks — twice."
    assert found["wavcaps/AudioSet_SL/Ynocaption01"].caption is None
    assert notes.sentences() == [
        "clips without a caption: 1 (Ynocaption01.wav)",
        "items without an id: 1 (as_final.json, item 6)",
    ]


def test_wavcaps_says_what_is_left_out(tmp_path: Path) -> None:
    root = corpora.wavcaps(tmp_path)
    report = check(CorpusEntry("wavcaps", part="AudioSet_SL"), root)
    assert (report.clips, report.captions, report.published) == (6, 5, 108_317)
    assert [s.split("Zip_files")[0] for s in report.left_out] == [
        "missing files: 1 (",
        "clips with a problem (repeated id): 1 (wavcaps/AudioSet_SL/Yb0RFKhbpFJA#2)",
    ]
    blacklisted = left_out("wavcaps", root, part="AudioSet_SL", options={"blacklist": "blacklist_exclude_test_ac.json"})
    assert "clips with a problem (on the blacklist): 1 (wavcaps/AudioSet_SL/Y-0xzrMun0Rs)" in blacklisted


def test_wavcaps_reads_older_lists_and_plain_folders(tmp_path: Path) -> None:
    root = corpora.wavcaps(tmp_path)
    bell = listed("wavcaps", root, part="SoundBible")["wavcaps/SoundBible/2219"]
    assert bell.attributes == {"subset": "SoundBible", "title": "Old Bell", "author": "D. S.", "href": "2219-Bell.html"}
    (root / "audio").mkdir()
    unpacked = root / "Zip_files/SoundBible" / corpora.UNPACKED / "SoundBible_flac"
    unpacked.rename(root / "audio/SoundBible")
    assert listed("wavcaps", root, part="SoundBible")[bell.clip_id].file == root / "audio/SoundBible/2219.flac"


@pytest.mark.parametrize(
    ("spoil", "options", "words"),
    [
        (lambda r: (r / "json_files/AudioSet_SL/as_final.json").unlink(), {}, "lacks 1 of 1 files.*as_final.json"),
        (lambda r: (r / "json_files/AudioSet_SL/as_final.json").write_text('{"data": [{"id"'), {}, "is no JSON after"),
        (lambda r: (r / "json_files/AudioSet_SL/as_final.json").write_text('{"n": 1}'), {}, "has no key 'data'"),
        (lambda r: shutil.rmtree(r / "Zip_files/AudioSet_SL/mnt"), {}, "no folder AudioSet_SL_flac; join and unpack"),
        (lambda _: None, {"blacklist": "none.json"}, "none.json does not exist; blacklists there: blacklist_exclude"),
        (lambda _: None, {"blaklist": "none.json"}, r"no option 'blaklist' \(did you mean blacklist\?\)"),
        (lambda _: None, {"blacklist": 3}, "option blacklist is 3; give a value like ''"),
    ],
)
def test_wavcaps_that_cannot_be_listed(tmp_path: Path, spoil: Any, options: dict[str, Any], words: str) -> None:
    root = corpora.wavcaps(tmp_path)
    spoil(root)
    with pytest.raises(DatasetError, match=words):
        listed("wavcaps", root, part="AudioSet_SL", options=options)


# --- IEMOCAP ---


def test_iemocap_speaker_gender_and_emotion(tmp_path: Path) -> None:
    found = listed("iemocap", corpora.iemocap(tmp_path))
    # The first letter is the marker wearer's (F), the last one the speaker's (M).
    one = found["iemocap/Ses01F_impro01_M000"]
    assert one.labels == ("excited", "male")
    assert {k: one.attributes[k] for k in ("speaker", "gender", "emotion", "session", "dialogue", "valence")} == {
        "speaker": "Ses01M",
        "gender": "male",
        "emotion": "excited",
        "session": 1,
        "dialogue": "Ses01F_impro01",
        "valence": 4.0,
    }
    assert one.path == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav"
    assert found["iemocap/Ses01M_script01_1b_F000"].attributes["speaker"] == "Ses01F"
    assert found["iemocap/Ses01F_impro01_F000"].attributes["transcript"] == "Excuse me."
    assert {e.attributes["speaker"] for e in found.values()} == {f"Ses0{s}{g}" for s in range(1, 6) for g in "FM"}


def test_iemocap_without_agreement_has_no_emotion_label(tmp_path: Path) -> None:
    found = listed("iemocap", corpora.iemocap(tmp_path))
    assert found["iemocap/Ses01F_impro01_F001"].labels == ("female",)
    assert found["iemocap/Ses01F_impro01_F001"].attributes["emotion"] == "no agreement"
    assert found["iemocap/Ses01F_impro01_F002"].labels == ("female",)
    assert found["iemocap/Ses01F_impro01_F002"].attributes["emotion"] == "other"


def test_iemocap_excited_may_be_called_happy(tmp_path: Path) -> None:
    found = listed("iemocap", corpora.iemocap(tmp_path), options={"merge_excited": True})
    assert found["iemocap/Ses01F_impro01_M000"].labels == ("happy", "male")


def test_iemocap_sessions_may_be_chosen(tmp_path: Path) -> None:
    found = listed("iemocap", corpora.iemocap(tmp_path, sessions=(2, 3)), options={"sessions": [2, 3]})
    assert {e.attributes["session"] for e in found.values()} == {2, 3}
    with pytest.raises(DatasetError, match="has no session 6"):
        listed("iemocap", tmp_path, options={"sessions": [1, 6]})


def test_iemocap_says_what_is_odd(tmp_path: Path) -> None:
    report = check(CorpusEntry("iemocap"), corpora.iemocap(tmp_path))
    assert (report.clips, report.published) == (35, 10_039)
    wav = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M001.wav"
    assert report.left_out == [f"missing files: 1 ({wav})"]
    assert report.odd == [
        "utterances labelled twice, the first counts: 1 (Ses01F_impro01_F000 in Ses01F_impro01.txt:11)",
        "label lines that cannot be read: 1 (Ses01F_impro01.txt:12)",
        "wav files without a label, left out: 1 (Ses01F_impro01_F777.wav)",
    ]
    assert listed("iemocap", tmp_path)["iemocap/Ses01F_impro01_F000"].labels == ("neutral", "female")


def test_iemocap_with_sessions_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"lacks 6 of 10 files or folders: Session1/dialog/EmoEvaluation, .*3 more"):
        listed("iemocap", corpora.iemocap(tmp_path, sessions=(2, 5)))


# --- FSD50K ---


def test_fsd50k_labels_splits_and_parts(tmp_path: Path) -> None:
    root, notes = corpora.fsd50k(tmp_path), Notes()
    found = listed("fsd50k", root, notes)
    assert found["fsd50k/64760"].labels == ("electric guitar", "guitar", "musical instrument")
    assert {name.split("/")[1]: e.split for name, e in found.items()} == {
        "64760": "train",
        "16399": "validation",
        "16401": "train",
        "16402": "validation",
        "37199": "evaluation",
        "175151": "evaluation",
    }
    assert found["fsd50k/16399"].file.is_file(), "16399.0 is clip 16399"
    assert found["fsd50k/16401"].labels == (), "NaN is no label"
    assert notes.sentences() == [
        "clips without a label: 1 (16401)",
        "labels that vocabulary.csv lacks: 1 (Unicorn of 16402)",
        "rows of no known split, left out: 1 (16403 (dev))",
    ]
    assert list(listed("fsd50k", root, part="val")) == ["fsd50k/16399", "fsd50k/16402"]
    assert left_out("fsd50k", root, part="eval") == ["missing files: 1 (FSD50K.eval_audio/175151.wav)"]
    assert check(CorpusEntry("fsd50k", part="eval"), root).published == 10_231


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r: shutil.rmtree(r / "FSD50K.eval_audio"), "lacks 1 of 5 files or folders: FSD50K.eval_audio"),
        (
            lambda r: (r / "FSD50K.ground_truth/vocabulary.csv").write_text("Bark\n"),
            "needs three columns .*row 1 has 1",
        ),
        (lambda r: (r / "FSD50K.ground_truth/dev.csv").write_text("fname,labels\n"), "has no column split"),
        (lambda r: (r / "FSD50K.ground_truth/dev.csv").write_bytes(b"\xff\xfe"), "cannot be read as a UTF-8 table"),
    ],
)
def test_fsd50k_that_cannot_be_listed(tmp_path: Path, spoil: Any, words: str) -> None:
    root = corpora.fsd50k(tmp_path)
    spoil(root)
    with pytest.raises(DatasetError, match=words):
        listed("fsd50k", root)


# --- VoxCeleb1 ---


def test_voxceleb1_same_file_names_under_different_videos(tmp_path: Path) -> None:
    root, notes = corpora.voxceleb1(tmp_path), Notes()
    found = listed("voxceleb1", root, notes)
    assert {name: (e.labels, e.split) for name, e in found.items()} == {
        "voxceleb1/id10001/1zcIwhmdeo4/00001": (("male",), "train"),
        "voxceleb1/id10001/7gWzIy6yIIk/00001": (("male",), "train"),
        "voxceleb1/id10270/5r0dWxy17C8/00001": (("female",), "test"),
        "voxceleb1/id10270/5r0dWxy17C8/00002": (("female",), "test"),
    }
    assert notes.sentences() == [
        "speakers of vox1_meta.csv without any audio: 1 (id10003)",
        "speakers that vox1_meta.csv lacks, left out: 1 (id19999)",
    ]
    assert len(listed("voxceleb1", root, part="test")) == 2


def test_voxceleb1_that_cannot_be_listed(tmp_path: Path) -> None:
    root = corpora.voxceleb1(tmp_path)
    meta = root / "vox1_meta.csv"
    meta.write_text(meta.read_text().replace("\tf\t", "\tx\t"))
    with pytest.raises(DatasetError, match="speaker 'id10270' has gender 'x'"):
        listed("voxceleb1", root)
    meta.write_text(meta.read_text().replace("\t", ","))
    with pytest.raises(DatasetError, match="has no column VoxCeleb1 ID"):
        listed("voxceleb1", root)
    meta.unlink()
    with pytest.raises(DatasetError, match=r"lacks 1 of 1 files or folders: vox1_meta\.csv"):
        listed("voxceleb1", root)


def test_voxceleb1_of_the_first_release_is_refused(tmp_path: Path) -> None:
    root = corpora.voxceleb1(tmp_path)
    shutil.rmtree(root / "test")
    shutil.rmtree(root / "dev")
    corpora.sound(root / "wav/A.J._Buckley/1zcIwhmdeo4_0000001.wav")
    with pytest.raises(DatasetError, match="folders named after people are those of its first release"):
        listed("voxceleb1", root)


# --- ESC-50, AudioCaps, Clotho ---


def test_esc50_takes_of_one_recording_belong_together(tmp_path: Path) -> None:
    root, notes = corpora.esc50(tmp_path), Notes()
    found = listed("esc50", root, notes, options={"test_fold": 2})
    assert found["esc50/2-101676-A-30"].labels == ("door wood knock",)
    assert {name.split("/")[1]: e.split for name, e in found.items()} == {
        "1-100032-A-0": "train",
        "1-100032-B-0": "train",
        "2-101676-A-30": "evaluation",
        "5-9032-A-0": "train",
    }
    assert {found[f"esc50/1-100032-{take}-0"].recording_id for take in "AB"} == {"freesound-100032"}
    assert notes.sentences() == ["rows without a file name or a fold from 1 to 5, left out: 1 (6-1-A-0.wav)"]
    assert left_out("esc50", root) == ["missing files: 1 (audio/5-9032-A-0.wav)"]
    (root / "ESC-50-master/audio/5-9032-A-0.wav").touch()
    assert left_out("esc50", root) == ["empty files: 1 (audio/5-9032-A-0.wav)"]
    assert {e.split for e in listed("esc50", root).values()} == {""}
    with pytest.raises(DatasetError, match="has no fold 7"):
        listed("esc50", root, options={"test_fold": 7})
    with pytest.raises(DatasetError, match="has no parts; leave part = 'dev' out"):
        listed("esc50", root, part="dev")


def test_audiocaps_rows_of_one_clip_are_one_entry(tmp_path: Path) -> None:
    root, notes = corpora.audiocaps(tmp_path), Notes()
    found = listed("audiocaps", root, notes)
    many = found["audiocaps/7fmOlUlwoNg_20"]
    assert (many.caption, many.split) == ("Constant rattling 0", "test")
    assert json.loads(many.attributes["captions"]) == [f"Constant rattling {i}" for i in range(5)]
    assert found["audiocaps/vfY_TJq7n_U_130"].file == root / "val/97151.wav"
    assert json.loads(found["audiocaps/vfY_TJq7n_U_130"].attributes["captions"]) == ["Rustling"]
    assert found["audiocaps/r1nicOVtvkQ_130"].file == root / "train/Yr1nicOVtvkQ.flac"
    assert notes.sentences() == ["rows without a video or a start, left out: 1 (test.csv, 103546)"]
    assert left_out("audiocaps", root) == ["missing files: 1 (gone0000000.flac)"]


def test_clotho_names_with_blanks_and_accents(tmp_path: Path) -> None:
    root = corpora.clotho(tmp_path)
    found = listed("clotho", root)
    cups = found["clotho/development/Café – tasses (1)"]
    assert cups.file.is_file()
    assert cups.caption == "Caption 1 of Café – tasses (1).wav, heard well"
    assert len(json.loads(cups.attributes["captions"])) == 5
    assert found["clotho/development/Wind"].file.is_file()
    assert {e.split for e in found.values()} == {"train", "validation", "evaluation"}
    assert left_out("clotho", root) == ["missing files: 1 (validation/gone.wav)"]
    (root / "clotho_captions_validation.csv").unlink()
    with pytest.raises(DatasetError, match=r"lacks 1 of 3 files or folders: clotho_captions_validation\.csv"):
        listed("clotho", root)


def test_rows_that_do_not_fit_their_header_are_counted(tmp_path: Path) -> None:
    root, notes = corpora.esc50(tmp_path), Notes()
    with (root / "ESC-50-master/meta/esc50.csv").open("a") as file:
        file.write("cut.wav,1\nlong.wav,1,0,dog,True,1,A,more\n")
    assert len(listed("esc50", root, notes)) == 4
    assert "rows that do not fit the header: 2 (esc50.csv:7, esc50.csv:8)" in notes.sentences()


# --- Joined ---


def joined(root: Path, corpus: list[dict[str, Any]], **more: Any) -> Any:
    return build({"data": {"source": "corpora", "root": str(root), "corpus": corpus, **more}}).data


def make_all(root: Path) -> Path:
    corpora.wavcaps(root / "WavCaps")
    corpora.iemocap(root / "IEMOCAP_full_release")
    corpora.fsd50k(root / "FSD50K")
    corpora.audiobench(root / "AudioLLMs")
    return root


SEVERAL = [
    {"name": "wavcaps", "part": "AudioSet_SL", "split": "train"},
    {"name": "iemocap", "split": "train"},
    {"name": "fsd50k", "part": "eval", "split": "evaluation"},
    {"name": "audiobench", "part": "iemocap_emotion_recognition", "split": "steering"},
]


def test_several_corpora_become_one_run(tmp_path: Path) -> None:
    entries, notes = open_corpora(joined(make_all(tmp_path), SEVERAL))
    assert len({e.clip_id for e in entries}) == len(entries) == 6 + 35 + 2 + 5
    assert {e.dataset: e.split for e in entries} == {
        "wavcaps": "train",
        "iemocap": "train",
        "fsd50k": "evaluation",
        "iemocap_emotion_recognition": "steering",
    }
    assert "wavcaps/AudioSet_SL: clips without a caption: 1 (Ynocaption01.wav)" in notes


@pytest.mark.parametrize(
    ("choice", "problem", "said"),
    [
        (
            "leave_out",
            "held out: same recording as audiobench/iemocap_emotion_recognition/00000",
            "1 training clips are in a held-out set too, left out of training: iemocap/Ses01F_impro01_F000",
        ),
        (
            "keep",
            "",
            "1 training clips are in a held-out set too, kept in training (data.overlap): iemocap/Ses01F_impro01_F000",
        ),
    ],
)
def test_training_clips_that_are_test_clips_too(tmp_path: Path, choice: str, problem: str, said: str) -> None:
    entries, notes = open_corpora(joined(make_all(tmp_path), SEVERAL, overlap=choice))
    found = {e.clip_id: e for e in entries}
    assert found["iemocap/Ses01F_impro01_F000"].problem == problem
    assert found["audiobench/iemocap_emotion_recognition/00000"].problem == ""
    assert notes[-1] == said
    others = [e.clip_id for e in entries if e.problem and not e.clip_id.endswith("#2")]
    assert others == (["iemocap/Ses01F_impro01_F000"] if problem else [])


def test_freesound_clips_of_two_corpora_are_told_by_their_id(tmp_path: Path) -> None:
    root = corpora.fsd50k(tmp_path / "FSD50K").parent
    folder = root / "ESC-50-master"
    header = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    corpora.table(folder / "meta/esc50.csv", [header, ("1-37199-A-0.wav", 1, 0, "dog", True, 37199, "A")])
    corpora.sound(folder / "audio/1-37199-A-0.wav")
    corpus = [{"name": "esc50", "split": "train"}, {"name": "fsd50k", "part": "eval"}]
    entries, _ = open_corpora(joined(root, corpus))
    assert [e.problem for e in entries if e.dataset == "esc50"] == ["held out: same recording as fsd50k/37199"]


def test_a_limit_takes_the_same_clips_each_time(tmp_path: Path) -> None:
    root = corpora.iemocap(tmp_path)
    few = list(listed("iemocap", root, limit=7))
    assert len(few) == 7
    assert few == list(listed("iemocap", root, limit=7))
    assert set(few) < set(listed("iemocap", root, limit=9))
    assert len({name.split("_")[0] for name in few}) > 2, "from all over the corpus"


def test_the_configuration_of_corpora_comes_back_from_the_manifest() -> None:
    corpus = [{"name": "iemocap", "options": {"merge_excited": True, "sessions": [1, 2]}, "limit": 3}]
    config = build({"data": {"source": "corpora", "corpus": corpus}})
    assert config.data.corpus[0].options == {"merge_excited": True, "sessions": [1, 2]}
    assert build(to_dict(config)) == config
    with pytest.raises(ConfigError, match=r"There is no setting data\.corpus\.0\.spilt \(did you mean split\?\)"):
        build({"data": {"corpus": [{"name": "iemocap", "spilt": "train"}]}})


def test_one_corpus_by_its_name(tmp_path: Path) -> None:
    data = build({"data": {"source": "esc50", "root": str(corpora.esc50(tmp_path))}}).data
    assert len(open_corpora(data).entries) == 4
    with pytest.raises(DatasetError, match=r"data\.corpus is empty"):
        open_corpora(build({"data": {"source": "corpora"}}).data)


# --- The command ---


def test_the_command_lists_shows_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{name} " in out for name in CORPORA)
    assert main(["datasets", "show", "iemocap"]) == 0
    assert "EmoEvaluation" in capsys.readouterr().out
    root = corpora.iemocap(tmp_path)
    assert main(["datasets", "check", "iemocap", "--root", str(root), "--option", "merge_excited=true"]) == 1
    out = capsys.readouterr().out
    assert "IEMOCAP: 35 clips (- 35), 6 labels" in out
    assert "published: 10,039" in out
    assert "left out: missing files: 1" in out
    labels = root / "IEMOCAP_full_release/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M001.wav"
    corpora.sound(labels)
    assert main(["datasets", "check", "iemocap", "--root", str(root)]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "imocap", "--root", "."], "no corpus 'imocap'"),
        (["check", "iemocap"], "needs --root"),
        (["check", "iemocap", "--root", "nowhere"], "nowhere is no folder; IEMOCAP needs one with"),
        (["check", "iemocap", "--root", ".", "--option", "x"], "'x' is not of the form KEY=VALUE"),
        (["check", "wavcaps", "--root", ".", "--part", "Bird"], "has no part 'Bird'; its parts are '', 'AudioSet_SL'"),
    ],
)
def test_a_mistake_gets_one_sentence(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
