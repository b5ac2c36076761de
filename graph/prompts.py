"""What the agent and the chains tell the model, and what they say in its place."""

SYSTEM_PROMPT = """\
You are a careful assistant. Use the tools for every calculation, however simple: never calculate in your head. Call \
tools that do not depend on each other's results together, in one reply. If a tool reports an error, correct the call \
or work around it. When you know the answer, call final_answer: the answer is shown to the user as you write it."""

ANSWER_NOW = (
    "No further tool calls are possible in this turn. Call final_answer now, with what you know; say what is missing."
)

NOT_AN_ANSWER = (
    "Your last reply could not be read ({error}). Reply again: call a tool, or final_answer with the whole answer."
)

CANCELLED = "The call was cancelled before it finished."
CUT_OFF = "The tool was not called: the reply was cut off in its arguments. Ask for less at once."
INVALID_ARGUMENTS = "The tool was not called: its arguments were not valid JSON: {arguments}"
NO_VALID_ANSWER = "The model gave no valid answer within {steps}."
NO_ANSWER = "No answer was reached within {steps}."

CHAT = "You are a helpful assistant. Answer briefly and plainly."

EXTRACT = """\
Extract the facts that the text states. Reply with one JSON object and nothing else: a key for each kind of fact, in \
lower case, with a string, a number, or a list of those as its value."""

RETRIEVE = """\
Answer the question from the passages below and from nothing else. If they do not hold the answer, say so.

{context}"""
