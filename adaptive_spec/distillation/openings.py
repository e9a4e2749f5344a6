"""How the prompts begin that a verifier makes up for itself, and tasks on passages it wrote.

Given the chat template up to the user's turn, a chat model goes on with a user's message of its own
(Magpie: Xu et al. 2024). An opening steers what about; ``""`` leaves it to the model. Weights say
how often each is drawn.
"""

OPENINGS: tuple[tuple[str, int], ...] = (
    ("", 30),
    ("Write a", 4),
    ("Explain", 3),
    ("What is", 3),
    ("What are the", 3),
    ("How do I", 2),
    ("Why", 2),
    ("Who", 3),
    ("When", 2),
    ("Where", 2),
    ("Is it true that", 1),
    ("Question:", 5),
    ("Answer the question using the passage below.\n\nPassage:", 5),
    ("Summarize the following article:\n\n", 5),
    ("Summarize:", 3),
    ("Here is a text:\n\n", 3),
    ("Translate the following sentence from German to English:", 5),
    ("Translate from French to English:", 2),
    ("Rewrite the following", 3),
    ("Fix the grammar:", 1),
    ("Extract", 2),
    ("Compare", 2),
    ("Describe", 2),
    ("Give me a list of", 2),
    ("Given the following data,", 1),
    ("Write an email", 2),
    ("Write a short story", 2),
    ("Create", 2),
    ("Imagine you are", 2),
    ("Pretend to be", 1),
    ("Suppose", 1),
    ("Solve the following math problem step by step:", 3),
    ("A farmer", 2),
    ("A train", 2),
    ("Tom has", 2),
    ("Sarah", 2),
    ("If", 2),
    ("Calculate", 1),
    ("Write a Python function", 3),
    ("Complete this Python function:\n\n", 4),
    ("def", 4),
    ("from typing import List\n\n\ndef", 4),
    ("import math\n\n", 1),
    ("```python\n", 2),
)

TASKS: tuple[tuple[str, bool, int], ...] = (
    ("Summarize the following text in one paragraph:\n\n{passage}", False, 4),
    ("{passage}\n\nSummarize the text above in two sentences.", False, 3),
    ("Summarize: {passage}", False, 3),
    ("Make this text shorter, but keep its wording:\n\n{passage}", False, 2),
    ("Rewrite the following text in simpler words:\n\n{passage}", False, 2),
    ("Extract the key points from this text as a list:\n\n{passage}", False, 2),
    ("Continue this text:\n\n{passage}", False, 2),
    ("Correct the grammar and spelling of this text:\n\n{passage}", False, 1),
    ("Give a title to this text:\n\n{passage}", False, 1),
    ("{passage}\n\n", True, 4),
    ("Read the passage and answer the question.\n\nPassage: {passage}\n\nQuestion:", True, 6),
    (
        "Use both documents.\n\nDocument 1: {passage}\n\nDocument 2: {other}\n\nQuestion:",
        True,
        6,
    ),
)
"""Template, whether the verifier goes on with it before the user's turn ends, and weight."""
