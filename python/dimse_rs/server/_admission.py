"""Admission: which A-ASSOCIATE-RQs are accepted, as far as the user's functions decide.

The core examines a proposal first, by data alone: the AE titles, the contexts, the user identity
where it is required, and whether there is a place among the associations. The core keeps the place
while the functions decide, so that no function accepts a proposal that has no place. Only when some
function decides (`Admission.ask`) does the proposal go into a queue, from which threads of this
module take it. The core serves other associations meanwhile, and rejects the proposal itself when
`Timeouts.acse` has passed.

`Admission.decide` calls the functions in an order that stops strangers early: `allow` first, which
costs a comparison; then `accept`; then `verify_identity`, which may take long; and what to accept
in detail, predicates and answers to extended negotiation, only for a requestor that is admitted.
The first one that refuses ends the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Final

from dimse_rs import _core, extended as ext, log
from dimse_rs.access import Allow
from dimse_rs.callables import described, fault_of_arguments
from dimse_rs.contexts import Supported, any_storage
from dimse_rs.errors import AssociationRejected
from dimse_rs.extended import Extended
from dimse_rs.passcodes import Congested
from dimse_rs.perform.workers import Callbacks, Workers
from dimse_rs.proposal import Proposal, proposal_of
from dimse_rs.sop_class import ALL_STORAGE, SOPClass
from dimse_rs.threads import weakly
from dimse_rs.user_identity import Kerberos

from .settings import AsyncServerSettings

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["Admission"]

_logger = log.get(log.SERVER)

_REFUSED: Final = (1, 1, 1)  # permanent, service user, no reason given
_NOT_ALLOWED: Final = (1, 1, 3)  # permanent, service user, calling AE title not recognized
_IDENTITY_REFUSED: Final = (1, 2, 1)  # PS3.7 D.3.3.7.3: permanent, and the source is ACSE


class _Refused(Exception):
    """The proposal is rejected: the codes for the peer, the cause and the text for the log."""

    def __init__(self, codes: tuple[int, int, int], code: str, why: str) -> None:
        super().__init__(why)
        self.codes = codes
        self.code = code


class Admission:
    """The policy of a server: the data that the core gets, and the functions that are called."""

    def __init__(self, settings: AsyncServerSettings, *, secured: bool) -> None:
        """Sort out which settings are data for the core, and which are functions.

        Args:
            settings: all of them, with the defaults.
            secured: whether connections use TLS.
        """
        self._workers: Workers[_core.Proposal] | None = None
        self._loop: AbstractEventLoop | None = None
        self._verify = settings["verify_identity"]
        self._require = settings["require_identity"]
        # Where identities are neither verified nor required, they are ignored, with their passcodes
        # (PS3.7 D.3.3.7).
        examined = self._require or self._verify is not None
        self._refuse_passcode = examined and not secured and not settings["passcode_in_clear"]
        self._accept = settings["accept"]
        self._allow = _allow_list(settings["allow"])
        self._keep_extended(settings["extended"])
        listed = _supported_list(settings["supported"])
        self._listed = [entry for entry in listed if entry.predicate is None]
        self._any = next((entry for entry in listed if entry.predicate is any_storage), None)
        self._predicates = [entry for entry in listed if entry.predicate not in (None, any_storage)]

    def _keep_extended(self, answers: Any) -> None:
        """Keep answers to extended negotiation: those that the core gives, and functions."""
        self._static: dict[SOPClass, Extended] = {}
        self._asked: dict[SOPClass, Callable[[SOPClass, Extended], Extended | None]] = {}
        self._asked_all = answers if callable(answers) else None
        if answers is None or callable(answers):
            return
        if not isinstance(answers, Mapping):
            raise TypeError(f"extended= is a mapping or a function, not {described(answers)}")
        for sop_class, answer in ext.by_class(answers):
            if callable(answer):
                self._asked[sop_class] = answer
            else:
                ext.encode(sop_class, answer)  # wrong options are an error now, not later
                self._static[sop_class] = answer

    def add_predicate(self, predicate: Callable[[SOPClass], bool]) -> None:
        """Accept each class that the predicate takes and no list has, in any transfer syntax."""
        self._predicates.append(Supported(predicate))

    def start(self, listener: _core.Listener, most: int) -> None:
        """Begin to decide on proposals, on at most so many threads, if a function decides.

        When this is called on an event loop, functions may be `async`: they run there.
        """
        if self.ask == "never":
            return
        from asyncio import get_running_loop

        with suppress(RuntimeError):
            self._loop = get_running_loop()
        self._workers = Workers(
            listener.next_proposal,
            most,
            0,  # no deadline here: the core has that of `Timeouts.acse`
            Callbacks(serve=weakly(self.decide)),
            name="dimse-admission",
        )
        self._workers.start()

    def stop(self) -> None:
        """Let the threads end."""
        if self._workers is not None:
            self._workers.stop()

    @property
    def ask(self) -> str:
        """Which proposals need a decision: "always", "identities" or "never"."""
        functions = self._accept or self._asked or self._asked_all or self._predicates
        if functions or self._allow is not None:
            return "always"
        return "identities" if self._verify else "never"

    def policy(
        self,
        implied: list[_core.SupportedContext],
        unknown: str | None,
        called: list[str] | None,
        calling: list[str] | None,
    ) -> _core.Policy:
        """Make the policy of the core: `supported=` goes before the implied contexts.

        Args:
            implied: the contexts of services and handlers.
            unknown: which other storage classes are accepted, if any.
            called: AE titles that the server answers to; None for any.
            calling: AE titles that are admitted; None for any.
        """
        contexts = {context.sop_class: context for context in implied}
        others = None if unknown is None else _core.UnknownClasses(unknown)
        if self._any is not None:
            contexts = {str(uid): _supported(uid, self._any) for uid in ALL_STORAGE} | contexts
            syntaxes = list(map(str, self._any.transfer_syntaxes))
            others = _core.UnknownClasses("any", syntaxes, own_order=self._any.own_order)
        for entry in reversed(self._listed):  # the first that lists a class counts
            contexts |= {str(uid): _supported(uid, entry) for uid in entry.sop_classes}
        self._known = frozenset(contexts)
        return _core.Policy(
            list(contexts.values()),
            called=called,
            calling=calling,
            unknown=others,
            extended=[
                _core.ExtendedAnswer(
                    str(uid),
                    ext.encode(uid, answer),
                    declared=not isinstance(answer, ext.QueryRetrieveOptions),
                )
                for uid, answer in self._static.items()
            ],
            require_identity=self._require,
            refuse_passcode=self._refuse_passcode,
        )

    def decide(self, core: _core.Proposal) -> None:
        """Decide on a proposal, and give the decision to the core; raises nothing."""
        try:
            proposal = proposal_of(core)
            permit = self._permit(proposal)
            self._check(proposal)
            response = self._verified(core, proposal)
            core.admit(
                contexts=self._further(proposal),
                extended=self._answers(proposal, core.extended),
                identity_response=response,
                permit=permit,
            )
        except _Refused as refused:
            core.reject(*refused.codes, refused.code, str(refused))
        except BaseException:  # a sys.exit() too: it must not end the thread
            _failed(core, "not-let-in", "a function of this node failed")
            core.reject(*_REFUSED, "not-let-in", "a function of this node failed")

    def _permit(self, proposal: Proposal) -> _core.Permit | None:
        """Give what a peer may ask for, by the first entry that matches it."""
        if self._allow is None:
            return None
        peer = proposal.peer
        certificate = None if proposal.tls is None else proposal.tls.certificate
        entries: Iterable[object]
        if callable(self._allow):
            given = self._call(self._allow, proposal)
            entries = () if given is None else (given,)
        else:
            entries = tuple(self._allow)  # a copy: the program may change the list meanwhile
        for entry in map(_checked, entries):
            if entry.is_for(peer.ae_title, peer.host, certificate):
                return entry.permit
        said = "" if certificate is None else f", certificate {certificate.sha256},"
        why = f"'{peer.ae_title}' at {peer.host}{said} matches no entry of allow="
        raise _Refused(_NOT_ALLOWED, "not-allowed", why)

    def _check(self, proposal: Proposal) -> None:
        if self._accept is None:
            return
        try:
            verdict = self._call(self._accept, proposal)
        except AssociationRejected as rejected:
            codes = (rejected.result, rejected.source, rejected.reason)
            raise _Refused(codes, "not-let-in", "rejected by the accept function") from None
        if not isinstance(verdict, bool):
            raise TypeError(f"accept gives bool, not {type(verdict).__name__}")
        if not verdict:
            raise _Refused(_REFUSED, "not-let-in", "the accept function refused")

    def _verified(self, core: _core.Proposal, proposal: Proposal) -> bytes | None:
        """Verify the identity and give the response; None when there is nothing to verify."""
        identity = proposal.identity
        if self._verify is None or identity is None:
            return None
        what = f"user identity of type {identity.type}"
        try:
            verdict = self._call(self._verify, proposal)
            if not isinstance(verdict, (bool, bytes)):
                raise TypeError(
                    f"verify_identity gives bool or bytes, not {type(verdict).__name__}"
                )
        except Congested as rejected:
            codes = (rejected.result, rejected.source, rejected.reason)
            raise _Refused(codes, "user-identity", f"{what} not verified: {rejected.why}") from None
        except AssociationRejected as rejected:
            codes = (rejected.result, rejected.source, rejected.reason)
            why = f"{what} not verified: rejected by the verify_identity function"
            raise _Refused(codes, "user-identity", why) from None
        except BaseException:
            _failed(core, "user-identity", "verify_identity failed")
            why = f"{what} not verified: verify_identity failed"
            raise _Refused(_IDENTITY_REFUSED, "user-identity", why) from None
        if verdict is False:
            raise _Refused(_IDENTITY_REFUSED, "user-identity", f"{what} not verified")
        # Only Kerberos and SAML define a response; that to a name is empty (PS3.7 D.3.3.7.2).
        return verdict if isinstance(verdict, bytes) and identity.type >= Kerberos.type else b""

    def _further(self, proposal: Proposal) -> list[_core.SupportedContext]:
        """Give the contexts of the classes that no list has and a predicate takes."""
        taken: dict[str, _core.SupportedContext] = {}
        for context in proposal.contexts:
            uid = context.sop_class
            if uid in self._known or uid in taken:
                continue
            for entry in self._predicates:
                if entry.predicate is not None and entry.predicate(uid):
                    taken[str(uid)] = _supported(uid, entry)
                    break
        return list(taken.values())

    def _answers(
        self, proposal: Proposal, offered: list[tuple[str, bytes]]
    ) -> list[tuple[str, bytes]]:
        answers = []
        first = dict(reversed(offered))  # of two items for one class the first counts
        for sop_class, options in proposal.extended.items():
            function = self._asked.get(sop_class, self._asked_all)
            answer = None if function is None else self._call(function, sop_class, options)
            if answer is not None:
                answers.append((str(sop_class), ext.agree(sop_class, first[sop_class], answer)))
        return answers

    def _call(self, function: Callable[..., Any], *args: object) -> Any:
        outcome = function(*args)
        if not iscoroutine(outcome):
            return outcome
        if self._loop is None:
            outcome.close()
            raise TypeError("an async function needs an event loop: use AsyncServer")
        from asyncio import run_coroutine_threadsafe

        return run_coroutine_threadsafe(outcome, self._loop).result()


def _allow_list(allow: Any) -> Any:
    """Check `allow=`; a collection is kept, not copied: a change counts for the next proposal."""
    if isinstance(allow, Allow):
        raise TypeError("allow= is a collection: write allow=[Allow(...)]")
    if callable(allow) and (fault := fault_of_arguments(allow)):
        raise TypeError(f"allow= is called with one argument, the proposal: {fault}")
    if allow is not None and not callable(allow) and not isinstance(allow, Iterable):
        raise TypeError(f"allow= is a collection or a function, not {described(allow)}")
    kept = list(allow) if isinstance(allow, Iterator) else allow
    if isinstance(kept, Iterable):
        for entry in kept:
            _checked(entry)
    return kept


def _supported_list(supported: Any) -> list[Supported]:
    if isinstance(supported, Supported) or not isinstance(supported, Iterable):
        what = "Supported(...)" if isinstance(supported, Supported) else described(supported)
        raise TypeError(f"supported= is a list: write supported=[Supported(...)], not {what}")
    listed = list(supported)
    for entry in listed:
        if not isinstance(entry, Supported):
            raise TypeError(f"supported= has entries of type Supported, not {described(entry)}")
    return listed


def _checked(entry: object) -> Allow:
    if isinstance(entry, Allow):
        return entry
    raise ValueError(f"allow= has entries of type Allow, not {type(entry).__name__}")


def _failed(core: _core.Proposal, code: str, what: str) -> None:
    titles = core.titles
    who = f"{titles.called}<-{titles.calling}({core.association})"
    about = {"code": code, "association": core.association, "peer": log.address(core.peer)}
    _logger.exception("%s %s", who, what, extra=about)


def _supported(uid: str, entry: Supported) -> _core.SupportedContext:
    return _core.SupportedContext(
        str(uid),
        [str(syntax) for syntax in entry.transfer_syntaxes],
        own_order=entry.own_order,
        scu=entry.scu,
        scp=entry.scp,
    )
